-- Texts that agents send by a shortcut.
CREATE TABLE canned_responses (
    tenant_id  uuid        NOT NULL REFERENCES tenants,
    id         uuid        NOT NULL,
    shortcut   text        NOT NULL,
    title      text,
    text       text        NOT NULL,
    -- For this group's agents; NULL: for all.
    group_id   uuid,
    revision   bigint      NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES groups
);
CREATE UNIQUE INDEX canned_responses_by_shortcut ON canned_responses (tenant_id, lower(shortcut))
    WHERE deleted_at IS NULL;
CREATE INDEX canned_responses_in_order ON canned_responses (tenant_id, created_at, id);
SELECT wall_in('canned_responses');

-- Forms that agents send and visitors fill in.
CREATE TABLE action_templates (
    tenant_id   uuid        NOT NULL REFERENCES tenants,
    id          uuid        NOT NULL,
    name        text        NOT NULL,
    description text,
    -- As in the data of an event `form`.
    fields      jsonb       NOT NULL,
    revision    bigint      NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    deleted_at  timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX action_templates_by_name ON action_templates (tenant_id, lower(name)) WHERE deleted_at IS NULL;
CREATE INDEX action_templates_in_order ON action_templates (tenant_id, created_at, id);
SELECT wall_in('action_templates');
