-- The read model of the log. Written by persister alone, and never the truth: the log is.
-- `seq` is a shard's stream sequence; a tenant lives in one shard, so (tenant_id, seq) names one event.

CREATE TABLE events (
    tenant_id       uuid        NOT NULL,
    seq             bigint      NOT NULL,
    at              timestamptz NOT NULL,
    id              uuid        NOT NULL,
    -- life, msg, mark, desk, note, visitor or agent: the end of its subject.
    lane            text        NOT NULL,
    -- The visitor or agent whose subject it is; for the lanes of a conversation, the conversation.
    subject_id      uuid        NOT NULL,
    conversation_id uuid,
    thread_id       uuid,
    kind            text        NOT NULL,
    author_type     text        NOT NULL,
    author_id       uuid        NOT NULL,
    client_id       text,
    visibility      text        NOT NULL,
    -- The stored bytes as they are; NULL once they were purged.
    payload         text,
    PRIMARY KEY (tenant_id, seq),
    CONSTRAINT events_once_by_id UNIQUE (tenant_id, id)
);
CREATE INDEX events_by_conversation ON events (tenant_id, conversation_id, seq) WHERE conversation_id IS NOT NULL;
CREATE INDEX events_by_subject ON events (tenant_id, subject_id, seq) WHERE conversation_id IS NULL;

CREATE TABLE conversations (
    tenant_id        uuid        NOT NULL,
    id               uuid        NOT NULL,
    visitor_id       uuid        NOT NULL,
    created_at       timestamptz NOT NULL,
    -- The open thread, or the last one, and its state after `life_seq`.
    thread_id        uuid        NOT NULL,
    status           text        NOT NULL,
    group_id         uuid,
    assignee_id      uuid,
    participants     uuid[]      NOT NULL,
    life_seq         bigint      NOT NULL,
    -- The newest thing said or done that participants see.
    last_at          timestamptz NOT NULL,
    last_seq         bigint      NOT NULL,
    last_message_seq bigint,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX conversations_by_activity ON conversations (tenant_id, last_at, id);
CREATE INDEX conversations_open_by_assignee ON conversations (tenant_id, assignee_id) WHERE status <> 'closed';
CREATE INDEX conversations_open_by_group ON conversations (tenant_id, group_id) WHERE status <> 'closed';

CREATE TABLE threads (
    tenant_id          uuid        NOT NULL,
    id                 uuid        NOT NULL,
    conversation_id    uuid        NOT NULL,
    visitor_id         uuid        NOT NULL,
    widget_id          uuid,
    source             text,
    previous_thread_id uuid,
    status             text        NOT NULL,
    group_id           uuid,
    assignee_id        uuid,
    participants       uuid[]      NOT NULL,
    life_seq           bigint      NOT NULL,
    started_at         timestamptz NOT NULL,
    started_seq        bigint      NOT NULL,
    first_queued_at    timestamptz,
    first_assigned_at  timestamptz,
    first_response_at  timestamptz,
    closed_at          timestamptz,
    closed_seq         bigint,
    close_reason       text,
    closed_by_type     text,
    closed_by_id       uuid,
    visitor_messages   bigint      NOT NULL DEFAULT 0,
    agent_messages     bigint      NOT NULL DEFAULT 0,
    -- The routing state after `desk_seq`.
    desk_seq           bigint,
    priority           text,
    waiting_since      timestamptz,
    waiting_reason     text,
    waiting_group_id   uuid,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX threads_by_conversation ON threads (tenant_id, conversation_id, started_seq);
CREATE INDEX threads_by_start ON threads (tenant_id, started_at);
CREATE INDEX threads_by_close ON threads (tenant_id, closed_at) WHERE closed_at IS NOT NULL;

-- What was said, with edits and deletions applied. The original bytes stay in `events`.
CREATE TABLE messages (
    tenant_id       uuid        NOT NULL,
    conversation_id uuid        NOT NULL,
    seq             bigint      NOT NULL,
    id              uuid        NOT NULL,
    thread_id       uuid,
    at              timestamptz NOT NULL,
    kind            text        NOT NULL,
    author_type     text        NOT NULL,
    author_id       uuid        NOT NULL,
    visibility      text        NOT NULL,
    -- The text as it stands now; for a file its name. NULL for kinds without text and once deleted.
    text            text,
    edited_at       timestamptz,
    edited_seq      bigint,
    deleted_at      timestamptz,
    deleted_seq     bigint,
    deleted_by_type text,
    deleted_by_id   uuid,
    purged          boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, conversation_id, seq)
);

CREATE TABLE marks (
    tenant_id       uuid        NOT NULL,
    conversation_id uuid        NOT NULL,
    author_type     text        NOT NULL,
    author_id       uuid        NOT NULL,
    delivered_seq   bigint      NOT NULL,
    read_seq        bigint      NOT NULL,
    seq             bigint      NOT NULL,
    at              timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, conversation_id, author_type, author_id)
);

-- One for each thread: the first counts.
CREATE TABLE ratings (
    tenant_id       uuid        NOT NULL,
    thread_id       uuid        NOT NULL,
    conversation_id uuid        NOT NULL,
    seq             bigint      NOT NULL,
    at              timestamptz NOT NULL,
    score           smallint    NOT NULL,
    comment         text,
    PRIMARY KEY (tenant_id, thread_id)
);
CREATE INDEX ratings_by_time ON ratings (tenant_id, at);

-- Who held a thread, and how it came to an end.
CREATE TABLE assignments (
    tenant_id       uuid        NOT NULL,
    seq             bigint      NOT NULL,
    thread_id       uuid        NOT NULL,
    conversation_id uuid        NOT NULL,
    agent_id        uuid        NOT NULL,
    group_id        uuid,
    at              timestamptz NOT NULL,
    ended_seq       bigint,
    ended_at        timestamptz,
    ended_by        text,
    PRIMARY KEY (tenant_id, seq)
);
CREATE INDEX assignments_by_thread ON assignments (tenant_id, thread_id, seq);
CREATE INDEX assignments_by_agent ON assignments (tenant_id, agent_id, at);

-- The last word on each tag of a thread.
CREATE TABLE tags (
    tenant_id       uuid        NOT NULL,
    thread_id       uuid        NOT NULL,
    tag_id          uuid        NOT NULL,
    conversation_id uuid        NOT NULL,
    present         boolean     NOT NULL,
    seq             bigint      NOT NULL,
    at              timestamptz NOT NULL,
    author_type     text        NOT NULL,
    author_id       uuid        NOT NULL,
    PRIMARY KEY (tenant_id, thread_id, tag_id)
);
CREATE INDEX tags_present ON tags (tenant_id, tag_id, conversation_id) WHERE present;

-- Why each thread went where it went, or waits.
CREATE TABLE decisions (
    tenant_id       uuid        NOT NULL,
    seq             bigint      NOT NULL,
    at              timestamptz NOT NULL,
    conversation_id uuid        NOT NULL,
    thread_id       uuid        NOT NULL,
    strategy        text,
    rule            text        NOT NULL,
    chosen_id       uuid,
    config_revision bigint      NOT NULL,
    waiting_since   timestamptz,
    took_us         bigint      NOT NULL,
    decision        jsonb       NOT NULL,
    PRIMARY KEY (tenant_id, seq)
);
CREATE INDEX decisions_by_thread ON decisions (tenant_id, thread_id, seq);

CREATE TABLE visitors (
    tenant_id       uuid        NOT NULL,
    id              uuid        NOT NULL,
    conversation_id uuid        NOT NULL,
    name            text,
    email           text,
    custom          jsonb       NOT NULL,
    external_id     text,
    verified        boolean     NOT NULL,
    widget_id       uuid,
    page_url        text,
    page_title      text,
    banned          boolean     NOT NULL,
    banned_until    timestamptz,
    banned_by       uuid,
    erased_at       timestamptz,
    first_seen_at   timestamptz NOT NULL,
    last_seen_at    timestamptz NOT NULL,
    seq             bigint      NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX visitors_by_last_seen ON visitors (tenant_id, last_seen_at, id);

-- The routing state of each agent.
CREATE TABLE agent_states (
    tenant_id        uuid        NOT NULL,
    agent_id         uuid        NOT NULL,
    seq              bigint      NOT NULL,
    at               timestamptz NOT NULL,
    -- What others see: accepting, not_accepting or offline.
    status           text        NOT NULL,
    chosen_status    text        NOT NULL,
    capacity         integer     NOT NULL,
    load             integer     NOT NULL,
    last_assigned_at timestamptz,
    deleted          boolean     NOT NULL,
    PRIMARY KEY (tenant_id, agent_id)
);

-- How often something happened on a day (UTC).
CREATE TABLE daily_counters (
    tenant_id uuid   NOT NULL,
    day       date   NOT NULL,
    metric    text   NOT NULL,
    n         bigint NOT NULL,
    PRIMARY KEY (tenant_id, day, metric)
);

-- What could not be read, kept whole until somebody looks.
CREATE TABLE parked (
    -- All zeros where the subject did not even name a tenant.
    tenant_id uuid        NOT NULL,
    shard     integer     NOT NULL,
    seq       bigint      NOT NULL,
    at        timestamptz NOT NULL,
    subject   text        NOT NULL,
    reason    text        NOT NULL,
    payload   bytea       NOT NULL,
    PRIMARY KEY (tenant_id, shard, seq)
);

-- How far the log was read; it moves in the same transaction as everything above.
CREATE TABLE watermark (
    shard   integer     NOT NULL PRIMARY KEY,
    epoch   uuid        NOT NULL,
    seq     bigint      NOT NULL,
    subject text        NOT NULL,
    at      timestamptz NOT NULL,
    -- Of the event there; NULL if it could not be read.
    id      uuid
);
COMMENT ON TABLE watermark IS 'no tenant: a position in the log of a whole shard';
