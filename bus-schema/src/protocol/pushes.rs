//! The table of pushes: name and what it may carry.

use super::{push::*, session::Hello, typed::TypeVisitor};
use crate::protocol::ErrorPayload;

macro_rules! pushes {
    ($($variant:ident $name:literal $($payload:ty)|+;)*) => {
        /// What the server says unasked (contract §3).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum PushAction { $($variant,)* }

        impl PushAction {
            pub const ALL: &'static [PushAction] = &[$(PushAction::$variant,)*];

            pub const fn name(self) -> &'static str {
                match self { $(PushAction::$variant => $name,)* }
            }

            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(PushAction::$variant),)* _ => None }
            }

            /// The types of its payload: one of them.
            pub fn payloads<V: TypeVisitor>(self, visitor: V) -> Vec<V::Out> {
                match self { $(PushAction::$variant => vec![$(visitor.visit::<$payload>(),)+],)* }
            }
        }
    };
}

pushes! {
    Hello "hello" Hello;
    Event "event" EventPush;
    CaughtUp "caught_up" CaughtUp;
    Reset "reset" Reset;
    Signal "signal" SignalPush;
    QueuePosition "queue_position" QueuePosition;
    GroupStatus "group_status" GroupStatusPush;
    Presence "presence" Presence;
    Person "person" PersonPush;
    ConfigChanged "config_changed" ConfigChanged;
    ConversationAvailable "conversation_available" ConversationAvailable | ViewChanged;
    ConversationUpdated "conversation_updated" ViewChanged;
    ConversationRemoved "conversation_removed" ConversationRemoved | ViewRemoved;
    TokenExpiring "token_expiring" TokenExpiring;
    Error "error" ErrorPayload;
    Closing "closing" Closing;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for push in PushAction::ALL {
            assert_eq!(PushAction::parse(push.name()), Some(*push));
        }
    }
}
