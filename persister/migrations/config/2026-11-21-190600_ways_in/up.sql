-- How people and programs get in besides a password: links by mail, second factors, other providers' logins, tokens.
-- Secrets that are only ever compared are kept as SHA-256 of what they are; none of them can be read back.

-- Since when it is known that the address is this person's: a link sent there was followed, or a provider says so.
ALTER TABLE accounts ADD COLUMN email_verified_at timestamptz;

-- Set while an invitation waits: until then the account does not get into this tenant.
ALTER TABLE agents ADD COLUMN invited_at timestamptz;

-- A row that cannot be published now waits, and holds up no other.
ALTER TABLE outbox ADD COLUMN attempts integer NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN retry_at timestamptz NOT NULL DEFAULT '-infinity';
CREATE INDEX outbox_by_retry ON outbox (retry_at, created_at, id);

-- Mails to be sent. None holds a secret: the token of a link is made when its mail is sent.
CREATE TABLE mails (
    id         uuid        NOT NULL PRIMARY KEY,
    -- NULL: of no tenant.
    tenant_id  uuid        REFERENCES tenants,
    -- Of an invitation.
    agent_id   uuid,
    -- reset, invitation or password_changed.
    kind       text        NOT NULL,
    recipient  text        NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    attempts   integer     NOT NULL DEFAULT 0,
    retry_at   timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents
);
COMMENT ON TABLE mails IS 'no tenant: a forgotten password belongs to a person, not to a tenant';
CREATE INDEX mails_by_retry ON mails (retry_at, id);

-- Links that were sent by mail; each counts once.
CREATE TABLE mailed_tokens (
    hash       bytea       NOT NULL PRIMARY KEY,
    account_id uuid        NOT NULL REFERENCES accounts,
    -- reset or invitation.
    purpose    text        NOT NULL,
    -- Of an invitation: into which tenant, as whom.
    tenant_id  uuid        REFERENCES tenants,
    agent_id   uuid,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents
);
COMMENT ON TABLE mailed_tokens IS 'no tenant: a forgotten password belongs to a person, not to a tenant';
CREATE INDEX mailed_tokens_of_account ON mailed_tokens (account_id, purpose);
CREATE INDEX mailed_tokens_by_expiry ON mailed_tokens (expires_at);

-- Logins under way: whose password was right, and who must give a code or choose a tenant.
CREATE TABLE open_logins (
    hash       bytea       NOT NULL PRIMARY KEY,
    account_id uuid        NOT NULL REFERENCES accounts,
    -- Which tenant was asked for.
    tenant_id  uuid,
    needs_code boolean     NOT NULL,
    tries      integer     NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE open_logins IS 'no tenant: a person who logs in is in none yet';
CREATE INDEX open_logins_of_account ON open_logins (account_id);
CREATE INDEX open_logins_by_expiry ON open_logins (expires_at);

-- Time-based one-time passwords (RFC 6238). The secret must be computed with, so it is kept as it is.
CREATE TABLE second_factors (
    account_id   uuid        NOT NULL PRIMARY KEY REFERENCES accounts,
    secret       bytea       NOT NULL,
    created_at   timestamptz NOT NULL,
    -- NULL: the first code was not given yet, and none is asked for.
    confirmed_at timestamptz,
    -- The newest time step whose code was used: a code counts once.
    last_step    bigint      NOT NULL DEFAULT 0
);
COMMENT ON TABLE second_factors IS 'no tenant: of a person, who may work in several';

CREATE TABLE recovery_codes (
    account_id uuid        NOT NULL REFERENCES accounts,
    hash       bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, hash)
);
COMMENT ON TABLE recovery_codes IS 'no tenant: of a person, who may work in several';

-- Who an account is at an OpenID provider.
CREATE TABLE identities (
    provider     text        NOT NULL,
    subject      text        NOT NULL,
    account_id   uuid        NOT NULL REFERENCES accounts,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    PRIMARY KEY (provider, subject)
);
COMMENT ON TABLE identities IS 'no tenant: of a person, who may work in several';
CREATE INDEX identities_of_account ON identities (account_id);

-- Logins that are at an OpenID provider now.
CREATE TABLE oidc_logins (
    -- Of `state`.
    hash       bytea       NOT NULL PRIMARY KEY,
    provider   text        NOT NULL,
    nonce      text        NOT NULL,
    verifier   text        NOT NULL,
    tenant_id  uuid,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE oidc_logins IS 'no tenant: a person who logs in is in none yet';
CREATE INDEX oidc_logins_by_expiry ON oidc_logins (expires_at);

-- What programs call the API with.
CREATE TABLE api_tokens (
    tenant_id    uuid        NOT NULL REFERENCES tenants,
    id           uuid        NOT NULL,
    name         text        NOT NULL,
    hash         bytea       NOT NULL,
    -- Its first characters, to tell it from others.
    hint         text        NOT NULL,
    scopes       text[]      NOT NULL,
    created_by   uuid        NOT NULL,
    revision     bigint      NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    -- To the minute.
    last_used_at timestamptz,
    deleted_at   timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, created_by) REFERENCES agents
);
CREATE UNIQUE INDEX api_tokens_by_hash ON api_tokens (hash);
CREATE UNIQUE INDEX api_tokens_by_name ON api_tokens (tenant_id, lower(name)) WHERE deleted_at IS NULL;
CREATE INDEX api_tokens_in_order ON api_tokens (tenant_id, created_at, id);

-- Where an agent's notifications go.
CREATE TABLE devices (
    tenant_id    uuid        NOT NULL REFERENCES tenants,
    id           uuid        NOT NULL,
    agent_id     uuid        NOT NULL,
    platform     text        NOT NULL,
    -- What the platform's push service calls the device.
    token        text        NOT NULL,
    name         text,
    created_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents
);
CREATE UNIQUE INDEX devices_by_token ON devices (tenant_id, agent_id, token);
CREATE INDEX devices_in_order ON devices (tenant_id, agent_id, created_at, id);

SELECT wall_in('mails');
SELECT wall_in('mailed_tokens');
SELECT wall_in('api_tokens');
SELECT wall_in('devices');
-- How a person gets in is no tenant's affair.
DO $$
DECLARE
    target regclass;
BEGIN
    FOREACH target IN ARRAY ARRAY['open_logins', 'second_factors', 'recovery_codes', 'identities', 'oidc_logins']::regclass[]
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', target);
        EXECUTE format('CREATE POLICY every_tenant ON %s TO chatbus_system USING (true)', target);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO chatbus_system', target);
    END LOOP;
END
$$;
