//! Removing all files of a conversation.

use bus_schema::{
    Body, ConversationId, ErrorBody, ErrorCode, Event, Lane, file::FileKey, subject::ConversationSubjects,
};

use super::Files;
use crate::log::{Log, ReadError};

/// Events read at once.
const PIECE: usize = 256;

impl Files {
    /// Removes every file that an event of the conversation names below `below`, and what was uploaded for it and never
    /// sent. Must come before those events go: they alone say which files there are.
    pub async fn discard_all(
        &self,
        log: &Log,
        home: ConversationSubjects,
        below: u64,
    ) -> Result<(), ErrorBody> {
        for lane in [Lane::Msg, Lane::Note] {
            let filter = home.lane(lane).to_string();
            let mut from = 1;
            loop {
                let piece = log.read(&filter, from, PIECE).await.map_err(unread)?;
                let Some(last) = piece.last().map(|message| message.seq) else { break };
                for message in piece.iter().filter(|message| message.seq < below) {
                    let event = Event::decode(&message.payload);
                    if let Ok(Event { body: Body::File(file), .. }) = event {
                        self.discard(FileKey { tenant: home.tenant, attachment: file.attachment_id }).await?;
                    }
                }
                from = last + 1;
            }
        }
        self.discard_unsent(home).await
    }

    async fn discard_unsent(&self, home: ConversationSubjects) -> Result<(), ErrorBody> {
        let of_it = |conversation: ConversationId| conversation == home.conversation;
        for key in self.unsettled().await?.into_iter().filter(|key| key.tenant == home.tenant) {
            if self.pending(key).await?.is_some_and(|pending| of_it(pending.conversation_id)) {
                self.discard(key).await?;
            }
        }
        Ok(())
    }
}

fn unread(error: ReadError) -> ErrorBody {
    tracing::warn!(%error, "the files of a conversation cannot be found now");
    ErrorCode::Unavailable.into()
}
