//! Schema `config`: what admin-api keeps, and alone writes.
//!
//! Its migrations are in `migrations/config`, and every table of them has its `diesel::table! { config.… }` here.

diesel::table! {
    config.accounts (id) {
        id -> Uuid,
        email -> Text,
        password_hash -> Nullable<Text>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        email_verified_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    config.tenants (tenant_id) {
        tenant_id -> Uuid,
        name -> Text,
        shard -> Integer,
        default_group_id -> Nullable<Uuid>,
        console_origins -> Array<Text>,
        thread_per_assignment -> Bool,
        routing -> Jsonb,
        revision -> BigInt,
        counter -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        forget_after_days -> Nullable<Integer>,
        lapses_due_at -> Timestamptz,
    }
}

diesel::table! {
    config.agents (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        account_id -> Uuid,
        name -> Text,
        role -> Text,
        capacity -> Integer,
        skills -> Array<Text>,
        avatar_url -> Nullable<Text>,
        job_title -> Nullable<Text>,
        revision -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        invited_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    config.groups (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        name -> Text,
        strategy -> Text,
        second_strategy -> Text,
        queue_max -> Nullable<Integer>,
        when_offline -> Text,
        routing -> Jsonb,
        revision -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    config.group_members (tenant_id, group_id, agent_id) {
        tenant_id -> Uuid,
        group_id -> Uuid,
        agent_id -> Uuid,
        priority -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    config.widgets (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        key -> Text,
        name -> Text,
        allowed_origins -> Array<Text>,
        default_group_id -> Nullable<Uuid>,
        greeting -> Nullable<Text>,
        locale -> Nullable<Text>,
        theme -> Jsonb,
        identity -> Nullable<Jsonb>,
        identity_required -> Bool,
        revision -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    config.tags (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        name -> Text,
        color -> Nullable<Text>,
        revision -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    config.canned_responses (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        shortcut -> Text,
        title -> Nullable<Text>,
        text -> Text,
        group_id -> Nullable<Uuid>,
        revision -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    config.action_templates (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        name -> Text,
        description -> Nullable<Text>,
        fields -> Jsonb,
        revision -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    config.sessions (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        agent_id -> Uuid,
        user_agent -> Nullable<Text>,
        created_at -> Timestamptz,
        last_used_at -> Timestamptz,
        expires_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
        ended_because -> Nullable<Text>,
    }
}

diesel::table! {
    config.refresh_tokens (tenant_id, hash) {
        tenant_id -> Uuid,
        hash -> Binary,
        session_id -> Uuid,
        issued_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    config.outbox (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        bucket -> Text,
        key -> Text,
        revision -> BigInt,
        value -> Binary,
        created_at -> Timestamptz,
        attempts -> Integer,
        retry_at -> Timestamptz,
    }
}

diesel::table! {
    config.idempotency_keys (tenant_id, agent_id, key) {
        tenant_id -> Uuid,
        agent_id -> Uuid,
        key -> Text,
        fingerprint -> Binary,
        started_at -> Timestamptz,
        status -> Nullable<SmallInt>,
        etag -> Nullable<Text>,
        location -> Nullable<Text>,
        body -> Nullable<Binary>,
    }
}

diesel::table! {
    config.audit_log (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        at -> Timestamptz,
        actor_id -> Nullable<Uuid>,
        action -> Text,
        entity -> Text,
        entity_id -> Uuid,
        fields -> Array<Text>,
        request_id -> Text,
    }
}

diesel::table! {
    config.mails (id) {
        id -> Uuid,
        tenant_id -> Nullable<Uuid>,
        agent_id -> Nullable<Uuid>,
        kind -> Text,
        recipient -> Text,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        attempts -> Integer,
        retry_at -> Timestamptz,
    }
}

diesel::table! {
    config.mailed_tokens (hash) {
        hash -> Binary,
        account_id -> Uuid,
        purpose -> Text,
        tenant_id -> Nullable<Uuid>,
        agent_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    config.open_logins (hash) {
        hash -> Binary,
        account_id -> Uuid,
        tenant_id -> Nullable<Uuid>,
        needs_code -> Bool,
        tries -> Integer,
        expires_at -> Timestamptz,
        challenge -> Nullable<Text>,
    }
}

diesel::table! {
    config.second_factors (account_id) {
        account_id -> Uuid,
        secret -> Binary,
        created_at -> Timestamptz,
        confirmed_at -> Nullable<Timestamptz>,
        last_step -> BigInt,
    }
}

diesel::table! {
    config.recovery_codes (account_id, hash) {
        account_id -> Uuid,
        hash -> Binary,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    config.identities (provider, subject) {
        provider -> Text,
        subject -> Text,
        account_id -> Uuid,
        created_at -> Timestamptz,
        last_used_at -> Timestamptz,
    }
}

diesel::table! {
    config.oidc_logins (hash) {
        hash -> Binary,
        provider -> Text,
        nonce -> Text,
        verifier -> Text,
        tenant_id -> Nullable<Uuid>,
        expires_at -> Timestamptz,
        challenge -> Nullable<Text>,
    }
}

diesel::table! {
    config.api_tokens (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        name -> Text,
        hash -> Binary,
        hint -> Text,
        scopes -> Array<Text>,
        created_by -> Uuid,
        revision -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
        last_used_at -> Nullable<Timestamptz>,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    config.devices (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        agent_id -> Uuid,
        platform -> Text,
        token -> Text,
        name -> Nullable<Text>,
        created_at -> Timestamptz,
        last_seen_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    accounts,
    tenants,
    agents,
    groups,
    group_members,
    widgets,
    tags,
    canned_responses,
    action_templates,
    sessions,
    refresh_tokens,
    outbox,
    idempotency_keys,
    audit_log,
    mails,
    mailed_tokens,
    open_logins,
    second_factors,
    recovery_codes,
    identities,
    oidc_logins,
    api_tokens,
    devices,
);
