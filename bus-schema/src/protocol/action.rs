//! The table of actions: name, who may ask, what is asked and what is answered.

use super::{desk::*, list::*, said::*, session::*, typed::TypeVisitor, view::*, visitor::*};
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
    ($($variant:ident $name:literal $who:expr, $request:ty => $answer:ty;)*) => {
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

            /// The type of its payload.
            pub fn request<V: TypeVisitor>(self, visitor: V) -> V::Out {
                match self { $(Action::$variant => visitor.visit::<$request>(),)* }
            }

            /// The type of the payload of its answer.
            pub fn answer<V: TypeVisitor>(self, visitor: V) -> V::Out {
                match self { $(Action::$variant => visitor.visit::<$answer>(),)* }
            }
        }
    };
}

actions! {
    Login "login" Who::Both, Login => LoginAnswer;
    Ping "ping" Who::Both, Nothing => Done;
    RefreshToken "refresh_token" Who::Both, RefreshToken => Refreshed;
    Logout "logout" Who::Both, Nothing => Done;
    StartThread "start_thread" Who::Visitor, StartThread => Conv;
    SendEvent "send_event" Who::Both, SendEvent => SendAnswer;
    MarkDelivered "mark_delivered" Who::Both, Mark => Done;
    MarkRead "mark_read" Who::Both, Mark => Done;
    Typing "typing" Who::Both, Typing => Done;
    Preview "preview" Who::Visitor, Preview => Done;
    ListEvents "list_events" Who::Both, ListEvents => EventPage;
    ListThreads "list_threads" Who::Both, ListThreads => ThreadList;
    GetAttachment "get_attachment" Who::Both, GetAttachment => AttachmentLink;
    CloseThread "close_thread" Who::Both, CloseThread => Done;
    Rate "rate" Who::Visitor, Rate => SendAnswer;
    UpdateVisitor "update_visitor" Who::Visitor, UpdateVisitor => VisitorView;
    SetPage "set_page" Who::Visitor, SetPage => Done;
    SetStatus "set_status" Who::Staff(Role::Agent), SetStatus => SetStatus;
    ListConversations "list_conversations" Who::Staff(Role::Agent), ListConversations => ConversationPage;
    Watch "watch" Who::Staff(Role::Agent), ConversationRef => Done;
    Unwatch "unwatch" Who::Staff(Role::Agent), ConversationRef => Done;
    Join "join" Who::Staff(Role::Agent), ConversationRef => Done;
    Leave "leave" Who::Staff(Role::Agent), ConversationRef => Done;
    Take "take" Who::Staff(Role::Agent), ConversationRef => Done;
    Decline "decline" Who::Staff(Role::Agent), ConversationRef => Done;
    Assign "assign" Who::Staff(Role::Supervisor), Assign => Done;
    SetPriority "set_priority" Who::Staff(Role::Supervisor), SetPriority => Done;
    SetSkills "set_skills" Who::Staff(Role::Supervisor), SetSkills => Done;
    Transfer "transfer" Who::Staff(Role::Agent), Transfer => TransferAnswer;
    Tag "tag" Who::Staff(Role::Agent), TagRef => Done;
    Untag "untag" Who::Staff(Role::Agent), TagRef => Done;
    ListAgents "list_agents" Who::Staff(Role::Agent), Nothing => AgentList;
    ListVisitors "list_visitors" Who::Staff(Role::Agent), Nothing => VisitorList;
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
