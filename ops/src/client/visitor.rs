//! A visitor: the session over HTTP, and the client that comes of it.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bus_schema::{
    ConversationId, VisitorId, limits,
    protocol::{WidgetSession, WidgetSessionAnswer},
};

use super::{
    handle::Client,
    http::{ApiError, Http},
    options::Options,
    tokens::Tokens,
};

/// A visitor with an open session.
pub struct Visitor {
    pub id: VisitorId,
    /// The conversation, if the session began or found one.
    pub conversation: Option<ConversationId>,
    pub client: Client,
    pub session: WidgetSessionAnswer,
}

impl Visitor {
    /// Opens the session at the first edge that answers, and starts the client with it.
    pub async fn open(
        http: &Http,
        edges: &[String],
        first: usize,
        session: &WidgetSession,
        adjust: impl FnOnce(&mut Options),
    ) -> Result<Self, ApiError> {
        let answer = http.widget_session(edges, first, session).await?;
        let token = (answer.token.clone(), answer.token_expires_at);
        let tokens = Tokens::visitor(http.clone(), edges.to_vec(), session, Some(token));
        let mut options = Options { first_edge: first, ..Options::new(edges.to_vec(), tokens) };
        adjust(&mut options);
        Ok(Self {
            id: answer.visitor.id,
            conversation: answer.conversation.as_ref().map(|conversation| conversation.id),
            client: Client::start(options),
            session: answer,
        })
    }
}

/// What a widget makes once and keeps.
pub fn new_visitor_key() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; limits::VISITOR_KEY_BYTES]>())
}
