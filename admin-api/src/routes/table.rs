//! The lines of the table.

use bus_schema::claims::Role::{Admin, Agent, Supervisor};
use http::Method;

use super::{QueryKind, QueryParam, Route, route};
use crate::{
    access::Access::{Public, Staff},
    admin, agents, auth, conversations, groups, health, tenant, visitors, widgets,
};

const PAGE: &[QueryParam] = &[LIMIT, CURSOR];
const PAGE_OR_DELETED: &[QueryParam] = &[LIMIT, CURSOR, DELETED];
const PAGE_MIN: &[QueryParam] = &[LIMIT, CURSOR, MIN_SEQ];
const ONE: &[QueryParam] = &[MIN_SEQ];
const EVENTS: &[QueryParam] = &[LIMIT, CURSOR, MIN_SEQ, BEFORE, AFTER];
const CONVERSATIONS: &[QueryParam] = &[LIMIT, CURSOR, MIN_SEQ, STATUS, GROUP, AGENT, VISITOR, VIEW];
const MIN_SEQ: QueryParam = QueryParam {
    name: "min_seq",
    kind: QueryKind::Integer,
    about: "Wait, bounded, until the read model is there.",
};
const BEFORE: QueryParam =
    QueryParam { name: "before_seq", kind: QueryKind::Integer, about: "The latest events below it." };
const AFTER: QueryParam =
    QueryParam { name: "after_seq", kind: QueryKind::Integer, about: "The earliest events above it." };
const STATUS: QueryParam =
    QueryParam { name: "status", kind: QueryKind::Text, about: "`open`, `queued`, `active` or `closed`." };
const GROUP: QueryParam = QueryParam { name: "group_id", kind: QueryKind::Uuid, about: "Of this group." };
const AGENT: QueryParam =
    QueryParam { name: "agent_id", kind: QueryKind::Uuid, about: "Assigned to this agent." };
const VISITOR: QueryParam =
    QueryParam { name: "visitor_id", kind: QueryKind::Uuid, about: "Of this visitor." };
const VIEW: QueryParam =
    QueryParam { name: "view", kind: QueryKind::Text, about: "`mine`: assigned to or joined by the caller." };
const LIMIT: QueryParam =
    QueryParam { name: "limit", kind: QueryKind::Integer, about: "1 to 200; 50 unless given." };
const CURSOR: QueryParam =
    QueryParam { name: "cursor", kind: QueryKind::Text, about: "`next_cursor` of the page before." };
const DELETED: QueryParam =
    QueryParam { name: "deleted", kind: QueryKind::Boolean, about: "What was deleted instead (admins)." };

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
        route(GET, "/.well-known/jwks.json", Public, "jwks", auth::jwks).about("The keys that verify staff tokens."),

        route(POST, "/v1/auth/register", Public, "register", auth::register).about("Make a tenant and its first admin.")
            .takes::<auth::Register>().creates::<auth::LoggedIn>(),
        route(POST, "/v1/auth/login", Public, "login", auth::login).about("Log in.")
            .takes::<auth::Login>().gives::<auth::LoggedIn>(),
        route(POST, "/v1/auth/refresh", Public, "refresh", auth::refresh).about("Exchange a refresh token; using one twice ends the session.")
            .takes::<auth::Refresh>().gives::<auth::FreshTokens>(),
        route(POST, "/v1/auth/logout", Staff(Agent), "logout", auth::logout).about("End this session.").empty(),
        route(POST, "/v1/auth/validate", Staff(Agent), "validate", auth::validate).about("Whether this token counts.").gives::<auth::Validated>(),
        route(GET, "/v1/auth/me", Staff(Agent), "me", auth::me).about("The caller.").gives::<auth::Me>(),
        route(PATCH, "/v1/auth/me", Staff(Agent), "patch_me", auth::patch_me).about("Change one's own profile.")
            .takes::<auth::PatchMe>().gives::<agents::AgentView>().if_match(),
        route(PUT, "/v1/auth/status", Staff(Agent), "put_status", auth::put_status).about("Accept chats, or not.")
            .takes::<auth::PutStatus>().gives::<auth::StatusView>(),
        route(GET, "/v1/auth/sessions", Staff(Agent), "sessions", auth::sessions).about("One's own open sessions.")
            .lists::<auth::SessionView>().query(PAGE),
        route(DELETE, "/v1/auth/sessions/{id}", Staff(Agent), "revoke_session", auth::revoke).about("End one of one's own sessions.").empty(),

        route(GET, "/v1/agents", Staff(Agent), "agents", agents::list).about("The tenant's agents.")
            .lists::<agents::AgentView>().query(PAGE_OR_DELETED),
        route(POST, "/v1/agents", Staff(Admin), "create_agent", agents::create).about("Make an agent.")
            .takes::<agents::NewAgent>().creates::<agents::AgentView>(),
        route(GET, "/v1/agents/online", Staff(Agent), "agents_online", agents::online).about("Agents with a live connection, from the router.")
            .lists::<agents::OnlineAgent>(),
        route(GET, "/v1/agents/{id}", Staff(Agent), "agent", agents::get).about("One agent.").gives::<agents::AgentView>(),
        route(PATCH, "/v1/agents/{id}", Staff(Admin), "patch_agent", agents::patch).about("Change an agent.")
            .takes::<agents::PatchAgent>().gives::<agents::AgentView>().if_match(),
        route(DELETE, "/v1/agents/{id}", Staff(Admin), "delete_agent", agents::delete).about("Delete an agent; can be restored.").empty().if_match(),
        route(POST, "/v1/agents/{id}/restore", Staff(Admin), "restore_agent", agents::restore).about("Restore a deleted agent.").gives::<agents::AgentView>(),
        route(PUT, "/v1/agents/{id}/status", Staff(Supervisor), "put_agent_status", agents::put_status).about("Set another agent's status.")
            .takes::<auth::PutStatus>().gives::<auth::StatusView>(),

        route(GET, "/v1/groups", Staff(Agent), "groups", groups::list).about("The tenant's groups.")
            .lists::<groups::GroupView>().query(PAGE_OR_DELETED),
        route(POST, "/v1/groups", Staff(Admin), "create_group", groups::create).about("Make a group.")
            .takes::<groups::NewGroup>().creates::<groups::GroupView>(),
        route(GET, "/v1/groups/{id}", Staff(Agent), "group", groups::get).about("One group.").gives::<groups::GroupView>(),
        route(PATCH, "/v1/groups/{id}", Staff(Admin), "patch_group", groups::patch).about("Change a group.")
            .takes::<groups::PatchGroup>().gives::<groups::GroupView>().if_match(),
        route(DELETE, "/v1/groups/{id}", Staff(Admin), "delete_group", groups::delete).about("Delete a group; can be restored.").empty().if_match(),
        route(POST, "/v1/groups/{id}/restore", Staff(Admin), "restore_group", groups::restore).about("Restore a deleted group.").gives::<groups::GroupView>(),
        route(PUT, "/v1/groups/{id}/members/{agent_id}", Staff(Admin), "put_member", groups::put_member).about("Put an agent into a group, or change the priority.")
            .takes::<groups::PutMember>().gives::<groups::GroupView>().if_match(),
        route(DELETE, "/v1/groups/{id}/members/{agent_id}", Staff(Admin), "remove_member", groups::remove_member).about("Take an agent out of a group.").empty().if_match(),

        route(GET, "/v1/widgets", Staff(Agent), "widgets", widgets::list).about("The tenant's widgets.")
            .lists::<widgets::WidgetView>().query(PAGE_OR_DELETED),
        route(POST, "/v1/widgets", Staff(Admin), "create_widget", widgets::create).about("Make a widget.")
            .takes::<widgets::NewWidget>().creates::<widgets::WidgetView>(),
        route(GET, "/v1/widgets/{id}", Staff(Agent), "widget", widgets::get).about("One widget.").gives::<widgets::WidgetView>(),
        route(PATCH, "/v1/widgets/{id}", Staff(Admin), "patch_widget", widgets::patch).about("Change a widget.")
            .takes::<widgets::PatchWidget>().gives::<widgets::WidgetView>().if_match(),
        route(DELETE, "/v1/widgets/{id}", Staff(Admin), "delete_widget", widgets::delete).about("Delete a widget; can be restored.").empty().if_match(),
        route(POST, "/v1/widgets/{id}/restore", Staff(Admin), "restore_widget", widgets::restore).about("Restore a deleted widget.").gives::<widgets::WidgetView>(),
        route(POST, "/v1/widgets/{id}/rotate-key", Staff(Admin), "rotate_widget_key", widgets::rotate_key).about("Give a widget a new key.").gives::<widgets::WidgetView>(),

        route(GET, "/v1/tenant", Staff(Agent), "tenant", tenant::get).about("The tenant and its settings.").gives::<tenant::TenantView>(),
        route(PATCH, "/v1/tenant", Staff(Admin), "patch_tenant", tenant::patch).about("Change the tenant's settings.")
            .takes::<tenant::PatchTenant>().gives::<tenant::TenantView>().if_match(),

        route(GET, "/v1/conversations", Staff(Agent), "conversations", conversations::list).about("Conversations, newest activity first: one's own and one's groups', or all for supervisors.")
            .lists::<conversations::ConversationView>().query(CONVERSATIONS),
        route(GET, "/v1/conversations/{id}", Staff(Agent), "conversation", conversations::get).about("One conversation with its latest events.")
            .gives::<conversations::ConversationDetail>().query(ONE),
        route(GET, "/v1/conversations/{id}/events", Staff(Agent), "conversation_events", conversations::events).about("Events, oldest first.")
            .gives::<conversations::EventList>().query(EVENTS),
        route(POST, "/v1/conversations/{id}/events", Staff(Agent), "send_event", conversations::send).about("Say something in the open thread.")
            .takes::<conversations::SendEvent>().creates::<conversations::Sent>(),
        route(GET, "/v1/conversations/{id}/threads", Staff(Agent), "threads", conversations::threads).about("A conversation's threads, oldest first.")
            .lists::<conversations::ThreadRecord>().query(PAGE_MIN),
        route(GET, "/v1/conversations/{id}/routing", Staff(Agent), "routing", conversations::routing).about("Every routing decision with its reasons.")
            .lists::<conversations::RoutingEntry>().query(PAGE_MIN),
        route(POST, "/v1/conversations/{id}/assign", Staff(Agent), "assign", conversations::assign).about("Assign the open thread; agents to themselves only.")
            .takes::<conversations::Assign>().gives::<conversations::Acted>(),
        route(POST, "/v1/conversations/{id}/transfer", Staff(Agent), "transfer", conversations::transfer).about("Hand the open thread to an agent or a group.")
            .takes::<conversations::Transfer>().gives::<conversations::Acted>(),
        route(POST, "/v1/conversations/{id}/close", Staff(Agent), "close", conversations::close).about("Close the open thread.")
            .may_take::<conversations::CloseThread>().gives::<conversations::Acted>(),
        route(POST, "/v1/conversations/{id}/resolve", Staff(Agent), "resolve", conversations::resolve).about("Close the open thread as resolved.")
            .may_take::<conversations::CloseThread>().gives::<conversations::Acted>(),
        route(GET, "/v1/threads/{id}", Staff(Agent), "thread", conversations::thread).about("One thread.")
            .gives::<conversations::ThreadRecord>().query(ONE),
        route(GET, "/v1/threads/{id}/events", Staff(Agent), "thread_events", conversations::thread_events).about("A thread's events, oldest first.")
            .gives::<conversations::EventList>().query(EVENTS),
        route(POST, "/v1/threads/{id}/events", Staff(Agent), "send_thread_event", conversations::send_to_thread).about("Say something in this thread if it is the open one.")
            .takes::<conversations::SendEvent>().creates::<conversations::Sent>(),

        route(GET, "/v1/visitors", Staff(Agent), "visitors", visitors::list).about("Visitors, latest first.")
            .lists::<visitors::VisitorRecord>().query(PAGE_MIN),
        route(GET, "/v1/visitors/{id}", Staff(Agent), "visitor", visitors::get).about("One visitor.")
            .gives::<visitors::VisitorRecord>().query(ONE),
        route(PATCH, "/v1/visitors/{id}", Staff(Agent), "patch_visitor", visitors::patch).about("Change what is known of a visitor.")
            .takes::<visitors::PatchVisitor>().gives::<visitors::ChangedVisitor>().if_match(),
        route(DELETE, "/v1/visitors/{id}", Staff(Admin), "erase_visitor", visitors::erase).about("Forget a visitor: record, messages and files.")
            .gives::<visitors::Erased>(),
        route(POST, "/v1/visitors/{id}/ban", Staff(Agent), "ban_visitor", visitors::ban).about("Keep a visitor out.")
            .may_take::<visitors::NewBan>().gives::<visitors::ChangedVisitor>(),
        route(POST, "/v1/visitors/{id}/unban", Staff(Agent), "unban_visitor", visitors::unban).about("Let a visitor in again.")
            .gives::<visitors::ChangedVisitor>(),

        route(GET, "/v1/admin/stats", Staff(Admin), "stats", admin::stats).about("Counts of the tenant.").gives::<admin::Stats>(),
        route(GET, "/v1/admin/bus", Staff(Admin), "bus", admin::bus).about("The log, and how far the read model is.").gives::<admin::BusState>(),
    ]
}
