//! Schema `chat`: the read model, as `migrations/chat` makes it. What columns mean is said there.

diesel::table! {
    chat.events (tenant_id, seq) {
        tenant_id -> Uuid,
        seq -> BigInt,
        at -> Timestamptz,
        id -> Uuid,
        lane -> Text,
        subject_id -> Uuid,
        conversation_id -> Nullable<Uuid>,
        thread_id -> Nullable<Uuid>,
        kind -> Text,
        author_type -> Text,
        author_id -> Uuid,
        client_id -> Nullable<Text>,
        visibility -> Text,
        payload -> Nullable<Text>,
    }
}

diesel::table! {
    chat.conversations (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        visitor_id -> Uuid,
        created_at -> Timestamptz,
        thread_id -> Uuid,
        status -> Text,
        group_id -> Nullable<Uuid>,
        assignee_id -> Nullable<Uuid>,
        participants -> Array<Uuid>,
        life_seq -> BigInt,
        last_at -> Timestamptz,
        last_seq -> BigInt,
        last_message_seq -> Nullable<BigInt>,
    }
}

diesel::table! {
    chat.threads (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        conversation_id -> Uuid,
        visitor_id -> Uuid,
        widget_id -> Nullable<Uuid>,
        source -> Nullable<Text>,
        previous_thread_id -> Nullable<Uuid>,
        status -> Text,
        group_id -> Nullable<Uuid>,
        assignee_id -> Nullable<Uuid>,
        participants -> Array<Uuid>,
        life_seq -> BigInt,
        started_at -> Timestamptz,
        started_seq -> BigInt,
        first_queued_at -> Nullable<Timestamptz>,
        first_assigned_at -> Nullable<Timestamptz>,
        first_response_at -> Nullable<Timestamptz>,
        closed_at -> Nullable<Timestamptz>,
        closed_seq -> Nullable<BigInt>,
        close_reason -> Nullable<Text>,
        closed_by_type -> Nullable<Text>,
        closed_by_id -> Nullable<Uuid>,
        visitor_messages -> BigInt,
        agent_messages -> BigInt,
        desk_seq -> Nullable<BigInt>,
        priority -> Nullable<Text>,
        waiting_since -> Nullable<Timestamptz>,
        waiting_reason -> Nullable<Text>,
        waiting_group_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    chat.messages (tenant_id, conversation_id, seq) {
        tenant_id -> Uuid,
        conversation_id -> Uuid,
        seq -> BigInt,
        id -> Uuid,
        thread_id -> Nullable<Uuid>,
        at -> Timestamptz,
        kind -> Text,
        author_type -> Text,
        author_id -> Uuid,
        visibility -> Text,
        text -> Nullable<Text>,
        edited_at -> Nullable<Timestamptz>,
        edited_seq -> Nullable<BigInt>,
        deleted_at -> Nullable<Timestamptz>,
        deleted_seq -> Nullable<BigInt>,
        deleted_by_type -> Nullable<Text>,
        deleted_by_id -> Nullable<Uuid>,
        purged -> Bool,
    }
}

diesel::table! {
    chat.marks (tenant_id, conversation_id, author_type, author_id) {
        tenant_id -> Uuid,
        conversation_id -> Uuid,
        author_type -> Text,
        author_id -> Uuid,
        delivered_seq -> BigInt,
        read_seq -> BigInt,
        seq -> BigInt,
        at -> Timestamptz,
    }
}

diesel::table! {
    chat.ratings (tenant_id, thread_id) {
        tenant_id -> Uuid,
        thread_id -> Uuid,
        conversation_id -> Uuid,
        seq -> BigInt,
        at -> Timestamptz,
        score -> SmallInt,
        comment -> Nullable<Text>,
    }
}

diesel::table! {
    chat.assignments (tenant_id, seq) {
        tenant_id -> Uuid,
        seq -> BigInt,
        thread_id -> Uuid,
        conversation_id -> Uuid,
        agent_id -> Uuid,
        group_id -> Nullable<Uuid>,
        at -> Timestamptz,
        ended_seq -> Nullable<BigInt>,
        ended_at -> Nullable<Timestamptz>,
        ended_by -> Nullable<Text>,
    }
}

diesel::table! {
    chat.tags (tenant_id, thread_id, tag_id) {
        tenant_id -> Uuid,
        thread_id -> Uuid,
        tag_id -> Uuid,
        conversation_id -> Uuid,
        present -> Bool,
        seq -> BigInt,
        at -> Timestamptz,
        author_type -> Text,
        author_id -> Uuid,
    }
}

diesel::table! {
    chat.decisions (tenant_id, seq) {
        tenant_id -> Uuid,
        seq -> BigInt,
        at -> Timestamptz,
        conversation_id -> Uuid,
        thread_id -> Uuid,
        strategy -> Nullable<Text>,
        rule -> Text,
        chosen_id -> Nullable<Uuid>,
        config_revision -> BigInt,
        waiting_since -> Nullable<Timestamptz>,
        took_us -> BigInt,
        decision -> Jsonb,
    }
}

diesel::table! {
    chat.visitors (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        conversation_id -> Uuid,
        name -> Nullable<Text>,
        email -> Nullable<Text>,
        custom -> Jsonb,
        external_id -> Nullable<Text>,
        verified -> Bool,
        widget_id -> Nullable<Uuid>,
        page_url -> Nullable<Text>,
        page_title -> Nullable<Text>,
        banned -> Bool,
        banned_until -> Nullable<Timestamptz>,
        banned_by -> Nullable<Uuid>,
        erased_at -> Nullable<Timestamptz>,
        first_seen_at -> Timestamptz,
        last_seen_at -> Timestamptz,
        seq -> BigInt,
    }
}

diesel::table! {
    chat.agent_states (tenant_id, agent_id) {
        tenant_id -> Uuid,
        agent_id -> Uuid,
        seq -> BigInt,
        at -> Timestamptz,
        status -> Text,
        chosen_status -> Text,
        capacity -> Integer,
        load -> Integer,
        last_assigned_at -> Nullable<Timestamptz>,
        deleted -> Bool,
    }
}

diesel::table! {
    chat.daily_counters (tenant_id, day, metric) {
        tenant_id -> Uuid,
        day -> Date,
        metric -> Text,
        n -> BigInt,
    }
}

diesel::table! {
    chat.parked (tenant_id, shard, seq) {
        tenant_id -> Uuid,
        shard -> Integer,
        seq -> BigInt,
        at -> Timestamptz,
        subject -> Text,
        reason -> Text,
        payload -> Bytea,
    }
}

diesel::table! {
    chat.watermark (shard) {
        shard -> Integer,
        epoch -> Uuid,
        seq -> BigInt,
        subject -> Text,
        at -> Timestamptz,
        id -> Nullable<Uuid>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    events,
    conversations,
    threads,
    messages,
    marks,
    ratings,
    assignments,
    tags,
    decisions,
    visitors,
    agent_states,
    daily_counters,
    parked,
    watermark,
);
