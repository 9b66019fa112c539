//! The table of actions: name and who may ask.

use crate::claims::Role;

/// Who may use an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Both,
    Visitor,
    /// Staff with at least this role.
    Staff(Role),
}

macro_rules! actions {
    ($($variant:ident $name:literal $who:expr;)*) => {
        /// What a client may ask for (contract §3).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action { $($variant,)* }

        impl Action {
            pub const ALL: &'static [Action] = &[$(Action::$variant,)*];

            pub const fn name(self) -> &'static str {
                match self { $(Action::$variant => $name,)* }
            }

            pub const fn who(self) -> Who {
                match self { $(Action::$variant => $who,)* }
            }

            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Action::$variant),)* _ => None }
            }
        }
    };
}

actions! {
    Login "login" Who::Both;
    Ping "ping" Who::Both;
    RefreshToken "refresh_token" Who::Both;
    Logout "logout" Who::Both;
    StartThread "start_thread" Who::Visitor;
    SendEvent "send_event" Who::Both;
    MarkDelivered "mark_delivered" Who::Both;
    MarkRead "mark_read" Who::Both;
    Typing "typing" Who::Both;
    Preview "preview" Who::Visitor;
    ListEvents "list_events" Who::Both;
    ListThreads "list_threads" Who::Both;
    GetAttachment "get_attachment" Who::Both;
    CloseThread "close_thread" Who::Both;
    Rate "rate" Who::Visitor;
    UpdateVisitor "update_visitor" Who::Visitor;
    SetPage "set_page" Who::Visitor;
    SetStatus "set_status" Who::Staff(Role::Agent);
    ListConversations "list_conversations" Who::Staff(Role::Agent);
    Watch "watch" Who::Staff(Role::Agent);
    Unwatch "unwatch" Who::Staff(Role::Agent);
    Join "join" Who::Staff(Role::Agent);
    Leave "leave" Who::Staff(Role::Agent);
    Take "take" Who::Staff(Role::Agent);
    Decline "decline" Who::Staff(Role::Agent);
    Assign "assign" Who::Staff(Role::Supervisor);
    SetPriority "set_priority" Who::Staff(Role::Supervisor);
    Transfer "transfer" Who::Staff(Role::Agent);
    Tag "tag" Who::Staff(Role::Agent);
    Untag "untag" Who::Staff(Role::Agent);
    ListAgents "list_agents" Who::Staff(Role::Agent);
    ListVisitors "list_visitors" Who::Staff(Role::Agent);
}

impl Who {
    /// Whether staff with `role` (none: a visitor) may use it.
    pub fn allows(self, role: Option<Role>) -> bool {
        match (self, role) {
            (Who::Both, _) | (Who::Visitor, None) => true,
            (Who::Staff(least), Some(role)) => role >= least,
            (Who::Visitor, Some(_)) | (Who::Staff(_), None) => false,
        }
    }
}
