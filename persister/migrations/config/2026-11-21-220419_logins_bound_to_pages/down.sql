ALTER TABLE open_logins DROP COLUMN challenge;
ALTER TABLE oidc_logins DROP COLUMN challenge;
