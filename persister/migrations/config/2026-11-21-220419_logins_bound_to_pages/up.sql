-- A login at a provider goes on only with whoever knows the secret that it began with the hash of.
ALTER TABLE oidc_logins ADD COLUMN challenge text;
ALTER TABLE open_logins ADD COLUMN challenge text;
