//! A tenant's conversations by id. There may be very many, and a decision asks for the same few again and again, so
//! they are hashed; whoever walks over all of them does it in the order of ids, so that nothing depends on the hashes.
//! These are without chance, as all of the core is: ids are hashes themselves, so nobody chooses which fall together.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, DefaultHasher},
};

use bus_schema::ConversationId;

use super::conversation::Conversation;

#[derive(Debug, Default)]
pub struct Conversations(HashMap<ConversationId, Box<Conversation>, BuildHasherDefault<DefaultHasher>>);

impl Conversations {
    pub fn get(&self, id: &ConversationId) -> Option<&Conversation> {
        self.0.get(id).map(Box::as_ref)
    }

    pub fn get_mut(&mut self, id: &ConversationId) -> Option<&mut Conversation> {
        self.0.get_mut(id).map(Box::as_mut)
    }

    /// The conversation; one of which nothing is known yet if there was none.
    pub fn of(&mut self, id: ConversationId) -> &mut Conversation {
        self.0.entry(id).or_default()
    }

    /// All of them, in order.
    pub fn sorted(&self) -> Vec<(ConversationId, &Conversation)> {
        let mut all: Vec<_> = self.0.iter().map(|(id, conversation)| (*id, conversation.as_ref())).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    pub fn sorted_mut(&mut self) -> Vec<(ConversationId, &mut Conversation)> {
        let mut all: Vec<_> =
            self.0.iter_mut().map(|(id, conversation)| (*id, conversation.as_mut())).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }
}
