-- Accounts, tenants and what they configure. Written by admin-api alone; this is the truth, the bus holds copies.
-- Deleting sets `deleted_at`: names are unique among what is not deleted, so they are free again at once.
-- `revision` is the tenant's counter at the row's last change: the ETag over HTTP, and the record's on the bus.

CREATE TABLE accounts (
    id            uuid        NOT NULL PRIMARY KEY,
    email         text        NOT NULL,
    -- Argon2id in PHC form; NULL until an invitation is accepted.
    password_hash text,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    deleted_at    timestamptz
);
COMMENT ON TABLE accounts IS 'no tenant: a person may work in several; agents say in which';
CREATE UNIQUE INDEX accounts_by_email ON accounts (lower(email)) WHERE deleted_at IS NULL;

CREATE TABLE tenants (
    tenant_id             uuid        NOT NULL PRIMARY KEY,
    name                  text        NOT NULL,
    shard                 integer     NOT NULL CHECK (shard BETWEEN 0 AND 65535),
    default_group_id      uuid,
    console_origins       text[]      NOT NULL DEFAULT '{}',
    thread_per_assignment boolean     NOT NULL DEFAULT false,
    -- The tenant's own row changed at this revision; `counter` is the newest of all its rows.
    revision              bigint      NOT NULL,
    counter               bigint      NOT NULL,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    deleted_at            timestamptz
);

CREATE TABLE agents (
    tenant_id  uuid        NOT NULL REFERENCES tenants,
    id         uuid        NOT NULL,
    account_id uuid        NOT NULL REFERENCES accounts,
    name       text        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('agent', 'supervisor', 'admin')),
    capacity   integer     NOT NULL CHECK (capacity BETWEEN 0 AND 100),
    skills     text[]      NOT NULL DEFAULT '{}',
    avatar_url text,
    job_title  text,
    revision   bigint      NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX agents_one_of_account ON agents (tenant_id, account_id) WHERE deleted_at IS NULL;
CREATE INDEX agents_by_account ON agents (account_id) WHERE deleted_at IS NULL;
CREATE INDEX agents_in_order ON agents (tenant_id, created_at, id);

CREATE TABLE groups (
    tenant_id       uuid        NOT NULL REFERENCES tenants,
    id              uuid        NOT NULL,
    name            text        NOT NULL,
    strategy        text        NOT NULL,
    second_strategy text        NOT NULL,
    queue_max       integer     CHECK (queue_max >= 0),
    when_offline    text        NOT NULL,
    revision        bigint      NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    deleted_at      timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX groups_by_name ON groups (tenant_id, lower(name)) WHERE deleted_at IS NULL;
CREATE INDEX groups_in_order ON groups (tenant_id, created_at, id);

-- Kept while the agent or the group is deleted, so that restoring brings it back.
CREATE TABLE group_members (
    tenant_id  uuid        NOT NULL,
    group_id   uuid        NOT NULL,
    agent_id   uuid        NOT NULL,
    priority   text        NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, group_id, agent_id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES groups,
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents
);
CREATE INDEX group_members_by_agent ON group_members (tenant_id, agent_id);

CREATE TABLE widgets (
    tenant_id         uuid        NOT NULL REFERENCES tenants,
    id                uuid        NOT NULL,
    -- Public: pages carry it. It names the tenant, so it is unique over all of them, for ever.
    key               text        NOT NULL,
    name              text        NOT NULL,
    allowed_origins   text[]      NOT NULL DEFAULT '{}',
    default_group_id  uuid,
    greeting          text,
    locale            text,
    theme             jsonb       NOT NULL DEFAULT '{}',
    -- How a site proves who its visitor is; may hold a secret.
    identity          jsonb,
    identity_required boolean     NOT NULL DEFAULT false,
    revision          bigint      NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    deleted_at        timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX widgets_by_key ON widgets (key);
CREATE UNIQUE INDEX widgets_by_name ON widgets (tenant_id, lower(name)) WHERE deleted_at IS NULL;
CREATE INDEX widgets_in_order ON widgets (tenant_id, created_at, id);

CREATE TABLE tags (
    tenant_id  uuid        NOT NULL REFERENCES tenants,
    id         uuid        NOT NULL,
    name       text        NOT NULL,
    color      text,
    revision   bigint      NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX tags_by_name ON tags (tenant_id, lower(name)) WHERE deleted_at IS NULL;
CREATE INDEX tags_in_order ON tags (tenant_id, created_at, id);

-- A login: the family of its refresh tokens. Access tokens name it as `sid`.
CREATE TABLE sessions (
    tenant_id     uuid        NOT NULL REFERENCES tenants,
    id            uuid        NOT NULL,
    agent_id      uuid        NOT NULL,
    user_agent    text,
    created_at    timestamptz NOT NULL,
    last_used_at  timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    ended_at      timestamptz,
    -- logout, revoked, reused, agent_deleted or role_changed.
    ended_because text,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents
);
CREATE INDEX sessions_of_agent ON sessions (tenant_id, agent_id, created_at, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    tenant_id  uuid        NOT NULL,
    -- SHA-256 of the token: the token itself is stored nowhere.
    hash       bytea       NOT NULL,
    session_id uuid        NOT NULL,
    issued_at  timestamptz NOT NULL,
    -- Exchanged then; presented again, it ends the whole family.
    used_at    timestamptz,
    PRIMARY KEY (tenant_id, hash),
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions ON DELETE CASCADE
);
CREATE UNIQUE INDEX refresh_tokens_by_hash ON refresh_tokens (hash);
CREATE INDEX refresh_tokens_of_session ON refresh_tokens (tenant_id, session_id);

-- What the bus must still be told, written in the transaction that changed it.
CREATE TABLE outbox (
    tenant_id  uuid        NOT NULL,
    id         uuid        NOT NULL,
    -- config or revoked.
    bucket     text        NOT NULL,
    key        text        NOT NULL,
    revision   bigint      NOT NULL,
    value      bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX outbox_in_order ON outbox (created_at, id);

-- Answers of POST requests by their Idempotency-Key, kept for a day.
CREATE TABLE idempotency_keys (
    tenant_id    uuid        NOT NULL,
    agent_id     uuid        NOT NULL,
    key          text        NOT NULL,
    -- SHA-256 of method, path and body.
    fingerprint  bytea       NOT NULL,
    started_at   timestamptz NOT NULL,
    -- NULL while the first request is under way.
    status       smallint,
    etag         text,
    location     text,
    body         bytea,
    PRIMARY KEY (tenant_id, agent_id, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (started_at);

-- Who changed what; fields by name, never by value.
CREATE TABLE audit_log (
    tenant_id  uuid        NOT NULL,
    id         uuid        NOT NULL,
    at         timestamptz NOT NULL,
    -- NULL: the system.
    actor_id   uuid,
    action     text        NOT NULL,
    entity     text        NOT NULL,
    entity_id  uuid        NOT NULL,
    fields     text[]      NOT NULL DEFAULT '{}',
    request_id text        NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX audit_log_in_order ON audit_log (tenant_id, at, id);
