//! The lines of the table.

use bus_schema::claims::Role::{Admin, Agent, Supervisor};
use http::Method;
use utoipa::PartialSchema as _;

use super::{
    QueryKind, QueryParam, Route,
    refusals::{
        ASKS, ASSIGNS, CHANGES_ACCOUNT, COMMANDS, ENTERS, INVITES, MAKES_AGENT, MARKS, NO_FACTOR, REFRESHES,
        REGISTERS, SAYS, SECOND_FACTOR, SETS_STATUS, STATE, TAKEN, TRANSFERS, TRIES,
    },
    route,
};
use crate::{
    access::Access::{Public, Staff},
    action_templates, admin, agents, api_tokens, audit_log, auth, canned_responses, conversations,
    db::{ActionTemplateRow, AgentRow, CannedResponseRow, GroupRow, TagRow, WidgetRow},
    groups, health, tags, tenant, things, visitors, widgets,
};

const PAGE: &[QueryParam] = &[LIMIT, CURSOR];
const PAGE_OR_DELETED: &[QueryParam] = &[LIMIT, CURSOR, DELETED];
const PAGE_MIN: &[QueryParam] = &[LIMIT, CURSOR, MIN_SEQ];
const ONE: &[QueryParam] = &[MIN_SEQ];
const EVENTS: &[QueryParam] = &[LIMIT, CURSOR, MIN_SEQ, BEFORE, AFTER];
const CONVERSATIONS: &[QueryParam] =
    &[LIMIT, CURSOR, MIN_SEQ, STATUS, GROUP, AGENT, VISITOR, TAG, FROM, TO, VIEW, WORDS];
const AUDIT: &[QueryParam] = &[
    LIMIT,
    CURSOR,
    QueryParam { name: "actor_id", kind: QueryKind::Uuid, about: "By this agent or API token." },
    QueryParam { name: "entity", kind: QueryKind::Word(audit_log::Audited::schema), about: "Of this kind." },
    QueryParam { name: "entity_id", kind: QueryKind::Uuid, about: "Of this one." },
    QueryParam { name: "from", kind: QueryKind::Time, about: "At this time or later." },
    QueryParam { name: "to", kind: QueryKind::Time, about: "Before this time." },
];
const SEARCH: &[QueryParam] = &[MUST, LIMIT, CURSOR, MIN_SEQ];
const THEN: &[QueryParam] = &[MIN_SEQ, AT_SEQ, AT];
const TRANSCRIPT: &[QueryParam] = &[MIN_SEQ, THREAD];
const DELETE_EVENT: &[QueryParam] = &[QueryParam {
    name: "purge",
    kind: QueryKind::Boolean,
    about: "Remove a file's bytes as well, also of one that is hidden already (supervisors).",
}];
const THREAD: QueryParam =
    QueryParam { name: "thread_id", kind: QueryKind::Uuid, about: "Of this thread alone." };
const TAG: QueryParam =
    QueryParam { name: "tag_id", kind: QueryKind::Uuid, about: "Whose thread has this tag." };
const FROM: QueryParam =
    QueryParam { name: "from", kind: QueryKind::Time, about: "Active at this time or later." };
const TO: QueryParam =
    QueryParam { name: "to", kind: QueryKind::Time, about: "Last active before this time." };
const WORDS: QueryParam = QueryParam {
    name: "q",
    kind: QueryKind::Words,
    about: "In which these words were said: all of them, `or`, `-not`, `\"a phrase\"`; the last one may go on.",
};
const MUST: QueryParam = QueryParam { kind: QueryKind::MustWords, ..WORDS };
const AT_SEQ: QueryParam =
    QueryParam { name: "at_seq", kind: QueryKind::Integer, about: "As it was after this event." };
const AT: QueryParam = QueryParam { name: "at", kind: QueryKind::Time, about: "As it was at this time." };
const MIN_SEQ: QueryParam = QueryParam {
    name: "min_seq",
    kind: QueryKind::Integer,
    about: "Wait, bounded, until the read model is there.",
};
const BEFORE: QueryParam =
    QueryParam { name: "before_seq", kind: QueryKind::Integer, about: "The latest events below it." };
const AFTER: QueryParam =
    QueryParam { name: "after_seq", kind: QueryKind::Integer, about: "The earliest events above it." };
const STATUS: QueryParam = QueryParam {
    name: "status",
    kind: QueryKind::Word(conversations::Status::schema),
    about: "`open`: queued or active.",
};
const GROUP: QueryParam = QueryParam { name: "group_id", kind: QueryKind::Uuid, about: "Of this group." };
const AGENT: QueryParam =
    QueryParam { name: "agent_id", kind: QueryKind::Uuid, about: "Assigned to this agent." };
const VISITOR: QueryParam =
    QueryParam { name: "visitor_id", kind: QueryKind::Uuid, about: "Of this visitor." };
const VIEW: QueryParam = QueryParam {
    name: "view",
    kind: QueryKind::Word(conversations::View::schema),
    about: "`mine`: assigned to or joined by the caller.",
};
const LIMIT: QueryParam =
    QueryParam { name: "limit", kind: QueryKind::Limit, about: "1 to 200; 50 unless given." };
const CURSOR: QueryParam =
    QueryParam { name: "cursor", kind: QueryKind::Text, about: "`next_cursor` of the page before." };
const DELETED: QueryParam =
    QueryParam { name: "deleted", kind: QueryKind::Boolean, about: "What was deleted instead (admins)." };

const OIDC_START: &[QueryParam] = &[
    QueryParam {
        name: "tenant_id",
        kind: QueryKind::Uuid,
        about: "Which tenant, for an account in several.",
    },
    QueryParam {
        name: "challenge",
        kind: QueryKind::Text,
        about: "The SHA-256, in base64url, of a secret: the login goes on with nobody but who gives it as `verifier`.",
    },
];
const OIDC_CALLBACK: &[QueryParam] = &[
    QueryParam { name: "state", kind: QueryKind::Text, about: "What the provider was given." },
    QueryParam { name: "code", kind: QueryKind::Text, about: "What the provider gave." },
];

/// Why what these change has no revision.
const LAST_WORD: &str = "a status replaces the one before whatever it was, and the router alone has it";
const WISHES: &str = "what is wished for replaces what was before it, and the router alone has it";
const TAGS: &str = "a tag is there or is not, and others are left alone";
const MARKS_GROW: &str = "a mark only grows";
const OWN_WORDS: &str = "nobody but its author edits it, and each edit is an event of its own";

/// Every route there is.
#[rustfmt::skip]
pub fn table() -> Vec<Route> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const PUT: Method = Method::PUT;
    const PATCH: Method = Method::PATCH;
    const DELETE: Method = Method::DELETE;
    vec![
        route(GET, "/healthz", Public, "healthz", health::healthz).about("Whether requests can be served."),
        route(GET, "/.well-known/jwks.json", Public, "jwks", auth::jwks).about("The keys that verify staff tokens.").gives::<auth::Jwks>(),

        route(POST, "/v1/auth/register", Public, "register", auth::register).about("Make a tenant and its first admin.")
            .takes::<auth::Register>().creates::<auth::LoggedIn>().refuses(REGISTERS),
        route(POST, "/v1/auth/login", Public, "login", auth::login).about("Log in.")
            .takes::<auth::Login>().gives::<auth::LoggedIn>().refuses(ENTERS),
        route(POST, "/v1/auth/login/mfa", Public, "complete_login", auth::complete_login).about("Go on with a login that asked for a code or for a tenant.")
            .takes::<auth::CompleteLogin>().gives::<auth::LoggedIn>().refuses(ENTERS),
        route(GET, "/v1/auth/oidc/{provider}/start", Public, "oidc_start", auth::oidc_start).about("Send the browser to an OpenID provider; if that fails, to the console with an `error` behind `#`.")
            .query(OIDC_START).redirects(),
        route(GET, "/v1/auth/oidc/{provider}/callback", Public, "oidc_callback", auth::oidc_callback).about("Take the browser back, to the console with a `login_token`, or an `error`, behind `#`.")
            .query(OIDC_CALLBACK).redirects(),
        route(POST, "/v1/auth/refresh", Public, "refresh", auth::refresh).about("Exchange a refresh token; using one twice ends the session.")
            .takes::<auth::Refresh>().gives::<auth::FreshTokens>().refuses(REFRESHES),
        route(POST, "/v1/auth/password/forgot", Public, "forgot_password", auth::forgot).about("Ask for a mail with a link to a new password; answers alike whether or not there is such an account.")
            .takes::<auth::Forgot>().empty().refuses(TRIES),
        route(POST, "/v1/auth/password/reset", Public, "reset_password", auth::reset).about("Choose a new password with a link out of a mail; ends all sessions. A second factor that was set up before the address was ever proved is removed.")
            .takes::<auth::Reset>().empty().refuses(CHANGES_ACCOUNT),
        route(POST, "/v1/auth/invitation", Public, "accept_invitation", auth::accept_invitation).about("Accept an invitation with a link out of a mail.")
            .takes::<auth::AcceptInvitation>().empty().refuses(CHANGES_ACCOUNT),
        route(POST, "/v1/auth/password", Staff(Agent), "change_password", auth::change_password).about("Change one's own password; ends all other sessions.")
            .takes::<auth::ChangePassword>().empty().refuses(CHANGES_ACCOUNT),
        route(POST, "/v1/auth/mfa/totp", Staff(Agent), "prepare_totp", auth::prepare_totp).about("A secret for an authenticator, as the second factor of one's account; refused where one logs in at a provider alone.")
            .takes::<auth::PrepareTotp>().gives::<auth::TotpSecret>().secret().refuses(SECOND_FACTOR),
        route(POST, "/v1/auth/mfa/totp/confirm", Staff(Agent), "confirm_totp", auth::confirm_totp).about("Turn the second factor on with its first code; gives the recovery codes.")
            .takes::<auth::Code>().gives::<auth::RecoveryCodes>().secret().refuses(SECOND_FACTOR),
        route(DELETE, "/v1/auth/mfa", Staff(Agent), "remove_mfa", auth::remove_mfa).about("Turn the second factor off with a code of it, or a recovery code.")
            .takes::<auth::Code>().empty().refuses(NO_FACTOR),
        route(POST, "/v1/auth/logout", Staff(Agent), "logout", auth::logout).about("End this session.").empty(),
        route(POST, "/v1/auth/validate", Staff(Agent), "validate", auth::validate).about("Whether this token counts.").gives::<auth::Validated>(),
        route(GET, "/v1/auth/me", Staff(Agent), "me", auth::me).about("The caller.").gives::<auth::Me>().tagged(),
        route(PATCH, "/v1/auth/me", Staff(Agent), "patch_me", auth::patch_me).about("Change one's own profile.")
            .takes::<auth::PatchMe>().gives::<agents::AgentView>().tagged().if_match(),
        route(PUT, "/v1/auth/status", Staff(Agent), "put_status", auth::put_status).about("Accept chats, or not.")
            .takes::<auth::PutStatus>().gives::<auth::StatusView>().no_revision(LAST_WORD).refuses(SETS_STATUS),
        route(GET, "/v1/auth/me/devices", Staff(Agent), "devices", auth::devices).about("One's own devices for notifications.")
            .lists::<auth::DeviceView>().query(PAGE),
        route(POST, "/v1/auth/me/devices", Staff(Agent), "add_device", auth::add_device).about("Register a device for notifications; the same one again is no second.")
            .takes::<auth::NewDevice>().creates::<auth::DeviceView>().refuses(STATE),
        route(DELETE, "/v1/auth/me/devices/{id}", Staff(Agent), "remove_device", auth::remove_device).about("Send no more notifications to a device.").empty(),
        route(GET, "/v1/auth/sessions", Staff(Agent), "sessions", auth::sessions).about("One's own open sessions.")
            .lists::<auth::SessionView>().query(PAGE),
        route(DELETE, "/v1/auth/sessions/{id}", Staff(Agent), "revoke_session", auth::revoke).about("End one of one's own sessions.").empty(),

        route(GET, "/v1/agents", Staff(Agent), "agents", things::list::<AgentRow>).about("The tenant's agents.")
            .lists::<agents::AgentView>().query(PAGE_OR_DELETED),
        route(POST, "/v1/agents", Staff(Admin), "create_agent", agents::create).about("Make an agent.")
            .takes::<agents::NewAgent>().creates::<agents::AgentView>().tagged().refuses(MAKES_AGENT),
        route(GET, "/v1/agents/online", Staff(Agent), "agents_online", agents::online).about("Agents with a live connection, from the router.")
            .lists::<agents::OnlineAgent>().query(PAGE).refuses(ASKS),
        route(GET, "/v1/agents/{id}", Staff(Agent), "agent", things::get::<AgentRow>).about("One agent.").gives::<agents::AgentView>().tagged(),
        route(PATCH, "/v1/agents/{id}", Staff(Admin), "patch_agent", agents::patch).about("Change an agent.")
            .takes::<agents::PatchAgent>().gives::<agents::AgentView>().tagged().if_match().refuses(STATE),
        route(DELETE, "/v1/agents/{id}", Staff(Admin), "delete_agent", things::delete::<AgentRow>).about("Delete an agent; can be restored.").empty().if_match().refuses(STATE),
        route(POST, "/v1/agents/{id}/restore", Staff(Admin), "restore_agent", things::restore::<AgentRow>).about("Restore a deleted agent.").gives::<agents::AgentView>().tagged().refuses(TAKEN),
        route(POST, "/v1/agents/{id}/invitation", Staff(Admin), "invite_agent", auth::invite_again).about("Send an agent's invitation once more.").empty().refuses(INVITES),
        route(PUT, "/v1/agents/{id}/status", Staff(Supervisor), "put_agent_status", agents::put_status).about("Set another agent's status.")
            .takes::<auth::PutStatus>().gives::<auth::StatusView>().no_revision(LAST_WORD).refuses(SETS_STATUS),

        route(GET, "/v1/groups", Staff(Agent), "groups", things::list::<GroupRow>).about("The tenant's groups.")
            .lists::<groups::GroupView>().query(PAGE_OR_DELETED),
        route(POST, "/v1/groups", Staff(Admin), "create_group", groups::create).about("Make a group.")
            .takes::<groups::NewGroup>().creates::<groups::GroupView>().tagged().refuses(TAKEN),
        route(GET, "/v1/groups/{id}", Staff(Agent), "group", things::get::<GroupRow>).about("One group.").gives::<groups::GroupView>().tagged(),
        route(PATCH, "/v1/groups/{id}", Staff(Admin), "patch_group", groups::patch).about("Change a group.")
            .takes::<groups::PatchGroup>().gives::<groups::GroupView>().tagged().if_match().refuses(TAKEN),
        route(DELETE, "/v1/groups/{id}", Staff(Admin), "delete_group", things::delete::<GroupRow>).about("Delete a group; can be restored.").empty().if_match(),
        route(POST, "/v1/groups/{id}/restore", Staff(Admin), "restore_group", things::restore::<GroupRow>).about("Restore a deleted group.").gives::<groups::GroupView>().tagged().refuses(TAKEN),
        route(PUT, "/v1/groups/{id}/members/{agent_id}", Staff(Admin), "put_member", groups::put_member).about("Put an agent into a group, or change the priority.")
            .takes::<groups::PutMember>().gives::<groups::GroupView>().tagged().if_match(),
        route(DELETE, "/v1/groups/{id}/members/{agent_id}", Staff(Admin), "remove_member", groups::remove_member).about("Take an agent out of a group.").empty().if_match(),

        route(GET, "/v1/widgets", Staff(Agent), "widgets", things::list::<WidgetRow>).about("The tenant's widgets.")
            .lists::<widgets::WidgetView>().query(PAGE_OR_DELETED),
        route(POST, "/v1/widgets", Staff(Admin), "create_widget", widgets::create).about("Make a widget.")
            .takes::<widgets::NewWidget>().creates::<widgets::WidgetView>().tagged().refuses(TAKEN),
        route(GET, "/v1/widgets/{id}", Staff(Agent), "widget", things::get::<WidgetRow>).about("One widget.").gives::<widgets::WidgetView>().tagged(),
        route(PATCH, "/v1/widgets/{id}", Staff(Admin), "patch_widget", widgets::patch).about("Change a widget.")
            .takes::<widgets::PatchWidget>().gives::<widgets::WidgetView>().tagged().if_match().refuses(TAKEN),
        route(DELETE, "/v1/widgets/{id}", Staff(Admin), "delete_widget", things::delete::<WidgetRow>).about("Delete a widget; can be restored.").empty().if_match(),
        route(POST, "/v1/widgets/{id}/restore", Staff(Admin), "restore_widget", things::restore::<WidgetRow>).about("Restore a deleted widget.").gives::<widgets::WidgetView>().tagged().refuses(TAKEN),
        route(POST, "/v1/widgets/{id}/rotate-key", Staff(Admin), "rotate_widget_key", widgets::rotate_key).about("Give a widget a new key.").gives::<widgets::WidgetView>().tagged(),
        route(POST, "/v1/widgets/{id}/rotate-identity-secret", Staff(Admin), "rotate_widget_identity_secret", widgets::rotate_identity_secret)
            .about("Give a widget a new secret for identity tokens; the one before counts for another hour.").gives::<widgets::WidgetView>().tagged().secret().refuses(STATE),

        route(GET, "/v1/api-tokens", Staff(Admin), "api_tokens", api_tokens::list).about("The tenant's API tokens.")
            .lists::<api_tokens::ApiTokenView>().query(PAGE_OR_DELETED),
        route(POST, "/v1/api-tokens", Staff(Admin), "create_api_token", api_tokens::create).about("Make an API token; it is shown this once.")
            .takes::<api_tokens::NewApiToken>().creates::<api_tokens::MadeApiToken>().tagged().secret().refuses(TAKEN),
        route(GET, "/v1/api-tokens/{id}", Staff(Admin), "api_token", api_tokens::get).about("One API token.").gives::<api_tokens::ApiTokenView>().tagged(),
        route(PATCH, "/v1/api-tokens/{id}", Staff(Admin), "patch_api_token", api_tokens::patch).about("Change an API token.")
            .takes::<api_tokens::PatchApiToken>().gives::<api_tokens::ApiTokenView>().tagged().if_match().refuses(TAKEN),
        route(DELETE, "/v1/api-tokens/{id}", Staff(Admin), "delete_api_token", api_tokens::delete).about("End an API token.").empty().if_match(),
        route(GET, "/v1/audit-log", Staff(Admin), "audit_log", audit_log::list).about("Who changed what of the tenant's configuration and accounts; latest first.")
            .lists::<audit_log::AuditEntry>().query(AUDIT),
        route(GET, "/v1/tags", Staff(Agent), "tags", things::list::<TagRow>).about("The tenant's tags.")
            .lists::<tags::TagView>().query(PAGE_OR_DELETED),
        route(POST, "/v1/tags", Staff(Supervisor), "create_tag", tags::create).about("Make a tag.")
            .takes::<tags::NewTag>().creates::<tags::TagView>().tagged().refuses(TAKEN),
        route(GET, "/v1/tags/{id}", Staff(Agent), "tag", things::get::<TagRow>).about("One tag.").gives::<tags::TagView>().tagged(),
        route(PATCH, "/v1/tags/{id}", Staff(Supervisor), "patch_tag", tags::patch).about("Change a tag.")
            .takes::<tags::PatchTag>().gives::<tags::TagView>().tagged().if_match().refuses(TAKEN),
        route(DELETE, "/v1/tags/{id}", Staff(Supervisor), "delete_tag", things::delete::<TagRow>).about("Delete a tag; can be restored.").empty().if_match(),
        route(POST, "/v1/tags/{id}/restore", Staff(Supervisor), "restore_tag", things::restore::<TagRow>).about("Restore a deleted tag.").gives::<tags::TagView>().tagged().refuses(TAKEN),

        route(GET, "/v1/canned-responses", Staff(Agent), "canned_responses", things::list::<CannedResponseRow>).about("The tenant's canned responses.")
            .lists::<canned_responses::CannedResponseView>().query(PAGE_OR_DELETED),
        route(POST, "/v1/canned-responses", Staff(Supervisor), "create_canned_response", canned_responses::create).about("Make a canned response.")
            .takes::<canned_responses::NewCannedResponse>().creates::<canned_responses::CannedResponseView>().tagged().refuses(TAKEN),
        route(GET, "/v1/canned-responses/{id}", Staff(Agent), "canned_response", things::get::<CannedResponseRow>).about("One canned response.").gives::<canned_responses::CannedResponseView>().tagged(),
        route(PATCH, "/v1/canned-responses/{id}", Staff(Supervisor), "patch_canned_response", canned_responses::patch).about("Change a canned response.")
            .takes::<canned_responses::PatchCannedResponse>().gives::<canned_responses::CannedResponseView>().tagged().if_match().refuses(TAKEN),
        route(DELETE, "/v1/canned-responses/{id}", Staff(Supervisor), "delete_canned_response", things::delete::<CannedResponseRow>).about("Delete a canned response; can be restored.").empty().if_match(),
        route(POST, "/v1/canned-responses/{id}/restore", Staff(Supervisor), "restore_canned_response", things::restore::<CannedResponseRow>).about("Restore a deleted canned response.").gives::<canned_responses::CannedResponseView>().tagged().refuses(TAKEN),

        route(GET, "/v1/action-templates", Staff(Agent), "action_templates", things::list::<ActionTemplateRow>).about("The tenant's action templates.")
            .lists::<action_templates::ActionTemplateView>().query(PAGE_OR_DELETED),
        route(POST, "/v1/action-templates", Staff(Supervisor), "create_action_template", action_templates::create).about("Make an action template.")
            .takes::<action_templates::NewActionTemplate>().creates::<action_templates::ActionTemplateView>().tagged().refuses(TAKEN),
        route(GET, "/v1/action-templates/{id}", Staff(Agent), "action_template", things::get::<ActionTemplateRow>).about("One action template.").gives::<action_templates::ActionTemplateView>().tagged(),
        route(PATCH, "/v1/action-templates/{id}", Staff(Supervisor), "patch_action_template", action_templates::patch).about("Change an action template.")
            .takes::<action_templates::PatchActionTemplate>().gives::<action_templates::ActionTemplateView>().tagged().if_match().refuses(TAKEN),
        route(DELETE, "/v1/action-templates/{id}", Staff(Supervisor), "delete_action_template", things::delete::<ActionTemplateRow>).about("Delete an action template; can be restored.").empty().if_match(),
        route(POST, "/v1/action-templates/{id}/restore", Staff(Supervisor), "restore_action_template", things::restore::<ActionTemplateRow>).about("Restore a deleted action template.").gives::<action_templates::ActionTemplateView>().tagged().refuses(TAKEN),

        route(GET, "/v1/tenant", Staff(Agent), "tenant", tenant::get).about("The tenant and its settings.").gives::<tenant::TenantView>().tagged(),
        route(PATCH, "/v1/tenant", Staff(Admin), "patch_tenant", tenant::patch).about("Change the tenant's settings.")
            .takes::<tenant::PatchTenant>().gives::<tenant::TenantView>().tagged().if_match(),

        route(GET, "/v1/conversations", Staff(Agent), "conversations", conversations::list).about("Conversations, newest activity first: one's own and one's groups', or all for supervisors.")
            .lists::<conversations::ConversationView>().query(CONVERSATIONS),
        route(GET, "/v1/conversations/{id}", Staff(Agent), "conversation", conversations::get).about("One conversation with its latest events.")
            .gives::<conversations::ConversationDetail>().query(THEN),
        route(GET, "/v1/conversations/{id}/events", Staff(Agent), "conversation_events", conversations::events).about("Events, oldest first.")
            .gives::<conversations::EventList>().query(EVENTS),
        route(POST, "/v1/conversations/{id}/events", Staff(Agent), "send_event", conversations::send).about("Say something in the open thread.")
            .takes::<conversations::SendEvent>().creates::<conversations::Sent>().refuses(SAYS),
        route(GET, "/v1/conversations/{id}/threads", Staff(Agent), "threads", conversations::threads).about("A conversation's threads, oldest first.")
            .lists::<conversations::ThreadRecord>().query(PAGE_MIN),
        route(GET, "/v1/conversations/{id}/routing", Staff(Agent), "routing", conversations::routing).about("Everything that routing did, in order and with its reasons, why the open thread still waits, and why the caller got it.")
            .gives::<conversations::Routed>().query(PAGE_MIN),
        route(POST, "/v1/conversations/{id}/assign", Staff(Agent), "assign", conversations::assign).about("Assign the open thread; agents to themselves only.")
            .takes::<conversations::Assign>().gives::<conversations::Acted>().refuses(ASSIGNS),
        route(POST, "/v1/conversations/{id}/transfer", Staff(Agent), "transfer", conversations::transfer).about("Hand the open thread to an agent or a group, with a note.")
            .takes::<conversations::Transfer>().gives::<conversations::Transferred>().refuses(TRANSFERS),
        route(PUT, "/v1/conversations/{id}/priority", Staff(Supervisor), "put_conversation_priority", conversations::put_priority).about("Say how urgent the open thread is.")
            .takes::<conversations::PutPriority>().gives::<conversations::ThreadPriority>().no_revision(WISHES).refuses(COMMANDS),
        route(PUT, "/v1/conversations/{id}/skills", Staff(Supervisor), "put_conversation_skills", conversations::put_skills).about("Name the skills that the open thread wants; agents without them do not get it by themselves.")
            .takes::<conversations::PutSkills>().gives::<conversations::ThreadSkills>().no_revision(WISHES).refuses(COMMANDS),
        route(POST, "/v1/conversations/{id}/close", Staff(Agent), "close", conversations::close).about("Close the open thread.")
            .may_take::<conversations::CloseThread>().gives::<conversations::Acted>().refuses(COMMANDS),
        route(POST, "/v1/conversations/{id}/resolve", Staff(Agent), "resolve", conversations::resolve).about("Close the open thread as resolved.")
            .may_take::<conversations::CloseThread>().gives::<conversations::Acted>().refuses(COMMANDS),
        route(POST, "/v1/conversations/{id}/reopen", Staff(Agent), "reopen", conversations::reopen).about("Open the next thread of a conversation that is closed.")
            .may_take::<conversations::Reopen>().gives::<conversations::Acted>().refuses(COMMANDS),
        route(POST, "/v1/conversations/bulk", Staff(Agent), "bulk", conversations::bulk).about("Assign, close, tag or untag many conversations.")
            .takes::<conversations::Bulk>().gives::<conversations::BulkResults>(),
        route(PUT, "/v1/conversations/{id}/tags/{tag_id}", Staff(Agent), "put_conversation_tag", conversations::put_tag).about("Tag the thread that is open, or was last.").empty().no_revision(TAGS).refuses(STATE),
        route(DELETE, "/v1/conversations/{id}/tags/{tag_id}", Staff(Agent), "remove_conversation_tag", conversations::remove_tag).about("Take the tag away.").empty().refuses(STATE),
        route(POST, "/v1/conversations/{id}/read-all", Staff(Agent), "read_all", conversations::read_all).about("Mark everything as read; for who takes part.")
            .gives::<conversations::ReadUpTo>().refuses(MARKS),
        route(GET, "/v1/conversations/{id}/search", Staff(Agent), "search_conversation", conversations::search_in).about("Search one conversation, latest first.")
            .lists::<conversations::Hit>().query(SEARCH),
        route(GET, "/v1/conversations/{id}/transcript", Staff(Agent), "transcript", conversations::transcript).about("What visitor and staff said to each other, as text.")
            .gives_text().query(TRANSCRIPT),
        route(GET, "/v1/search", Staff(Agent), "search", conversations::search).about("Search all that one may see, latest first.")
            .lists::<conversations::Hit>().query(SEARCH),
        route(GET, "/v1/unread-count", Staff(Agent), "unread_count", conversations::unread_count).about("What others said in one's open conversations and one has not read.")
            .gives::<conversations::UnreadCount>().query(ONE),
        route(PATCH, "/v1/events/{id}", Staff(Agent), "edit_event", conversations::edit_event).about("Edit one's own message while its thread is open.")
            .takes::<conversations::EditEvent>().gives::<conversations::Sent>().no_revision(OWN_WORDS).refuses(SAYS),
        route(DELETE, "/v1/events/{id}", Staff(Agent), "delete_event", conversations::delete_event).about("Hide what one said oneself; supervisors what anybody said.")
            .gives::<conversations::Sent>().query(DELETE_EVENT).refuses(SAYS),
        route(PUT, "/v1/events/{id}/read", Staff(Agent), "read_event", conversations::read_event).about("Mark everything up to an event as read.")
            .gives::<conversations::ReadUpTo>().no_revision(MARKS_GROW).refuses(MARKS),
        route(GET, "/v1/threads/{id}", Staff(Agent), "thread", conversations::thread).about("One thread.")
            .gives::<conversations::ThreadRecord>().query(ONE),
        route(GET, "/v1/threads/{id}/events", Staff(Agent), "thread_events", conversations::thread_events).about("A thread's events, oldest first.")
            .gives::<conversations::EventList>().query(EVENTS),
        route(POST, "/v1/threads/{id}/events", Staff(Agent), "send_thread_event", conversations::send_to_thread).about("Say something in this thread if it is the open one.")
            .takes::<conversations::SendEvent>().creates::<conversations::Sent>().refuses(SAYS),

        route(GET, "/v1/visitors", Staff(Agent), "visitors", visitors::list).about("Visitors, latest first.")
            .lists::<visitors::VisitorRecord>().query(PAGE_MIN),
        route(GET, "/v1/visitors/online", Staff(Agent), "visitors_online", visitors::online).about("Visitors with a live connection, as the edges say; agents see those of their groups, their own, and who talks to nobody.")
            .lists::<visitors::OnlineVisitor>().query(PAGE_MIN),
        route(GET, "/v1/visitors/{id}", Staff(Agent), "visitor", visitors::get).about("One visitor.")
            .gives::<visitors::VisitorRecord>().tagged().query(ONE),
        route(GET, "/v1/visitors/{id}/export", Staff(Supervisor), "export_visitor", visitors::export).about("Everything that is kept about a visitor, as one document: record, threads and events, with the notes of staff; of files what they are, without their bytes. An answer that breaks off is not whole.")
            .gives::<visitors::Export>().query(ONE),
        route(PATCH, "/v1/visitors/{id}", Staff(Agent), "patch_visitor", visitors::patch).about("Change what is known of a visitor.")
            .takes::<visitors::PatchVisitor>().gives::<visitors::ChangedVisitor>().tagged().if_match(),
        route(DELETE, "/v1/visitors/{id}", Staff(Admin), "erase_visitor", visitors::erase).about("Forget a visitor: record, messages and files.")
            .gives::<visitors::Erased>(),
        route(POST, "/v1/visitors/{id}/ban", Staff(Agent), "ban_visitor", visitors::ban).about("Keep a visitor out.")
            .may_take::<visitors::NewBan>().gives::<visitors::ChangedVisitor>().tagged(),
        route(POST, "/v1/visitors/{id}/unban", Staff(Agent), "unban_visitor", visitors::unban).about("Let a visitor in again.")
            .gives::<visitors::ChangedVisitor>().tagged(),

        route(GET, "/v1/admin/stats", Staff(Admin), "stats", admin::stats).about("Counts of the tenant.").gives::<admin::Stats>().query(ONE),
        route(GET, "/v1/admin/bus", Staff(Admin), "bus", admin::bus).about("The log, and how far the read model is.").gives::<admin::BusState>(),
    ]
}
