//! Requests for older events: below the horizon the log no longer has them, far down it finds them only by a search.
//!
//! Asked by edges on [`crate::subject::history`] and answered by admin-api; the sender has checked who asks.

use serde::{Deserialize, Serialize};

use crate::{Audience, ConversationId, ErrorBody, EventId, protocol::EventPage};

/// The queue group in which instances of admin-api share the requests.
pub const QUEUE_GROUP: &str = "admin-api";
/// How long an edge waits for an answer.
pub const WAIT_MS: u64 = 3_000;

/// A page of a conversation's events, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRequest {
    pub conversation_id: ConversationId,
    /// Whose eyes it is for: visitors get no staff lanes.
    pub audience: Audience,
    /// The latest events below it …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_seq: Option<u64>,
    /// … or the earliest above it; neither: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u64>,
    /// No page, but where this event is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    pub limit: usize,
}

/// A page, or why there is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HistoryAnswer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<EventPage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
    /// Everything of the conversation up to here was in the read model before the page was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds_to: Option<u64>,
    /// The sequence of the event that was asked for; none: the read model does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_seq: Option<u64>,
}

impl HistoryAnswer {
    pub fn into_result(self) -> Result<EventPage, ErrorBody> {
        match (self.page, self.error) {
            (Some(page), None) => Ok(page),
            (_, Some(error)) => Err(error),
            (None, None) => Err(crate::ErrorCode::Internal.into()),
        }
    }
}

impl From<Result<EventPage, ErrorBody>> for HistoryAnswer {
    fn from(result: Result<EventPage, ErrorBody>) -> Self {
        match result {
            Ok(page) => Self { page: Some(page), error: None, holds_to: None, event_seq: None },
            Err(error) => Self { page: None, error: Some(error), holds_to: None, event_seq: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::ErrorCode;

    #[test]
    fn answers_round_trip_with_their_events_untouched() {
        let event = r#"{"seq":1, "v":1}"#;
        let events = vec![RawValue::from_string(event.to_owned()).unwrap()];
        let answer = HistoryAnswer::from(Ok(EventPage { events, has_more: true }));
        let json = serde_json::to_string(&answer).unwrap();
        let page = serde_json::from_str::<HistoryAnswer>(&json).unwrap().into_result().unwrap();
        assert_eq!((page.events[0].get(), page.has_more), (event, true));
        let told = HistoryAnswer { holds_to: Some(7), ..answer };
        let json = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<HistoryAnswer>(&json).unwrap().holds_to, Some(7));
        let before = json.replace(r#","holds_to":7"#, "");
        let before = serde_json::from_str::<HistoryAnswer>(&before).unwrap();
        assert_eq!(before.holds_to, None, "an older neighbour does not say it");
        let refused = HistoryAnswer::from(Err(ErrorBody::from(ErrorCode::NotFound)));
        let json = serde_json::to_string(&refused).unwrap();
        let error = serde_json::from_str::<HistoryAnswer>(&json).unwrap().into_result().unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFound);
    }
}
