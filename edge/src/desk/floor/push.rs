//! The pushes of a followed view.

use bus_schema::protocol::{ViewChanged, ViewRemoved};

use super::view::{Told, Which};
use crate::{conn::Conn, socket::Topic};

pub fn told(conn: &Conn, which: Which, told: Told) {
    let Which { view, group_id } = which;
    match told {
        Told::Available(conversation) => {
            conn.push("conversation_available", ViewChanged { view, group_id, conversation });
        }
        Told::Updated(conversation) => {
            let topic = Topic::Shown(view, group_id, conversation.id);
            conn.push_latest(topic, "conversation_updated", ViewChanged { view, group_id, conversation });
        }
        Told::Removed(conversation_id) => {
            conn.push("conversation_removed", ViewRemoved { view, group_id, conversation_id });
        }
    }
}
