//! Who is on the other side: what a token proves, and from where it may be used.

use bus_schema::{
    AgentId, Audience, Author, ConversationId, SessionId, TenantId, Timestamp, VisitorId, WidgetId,
    claims::Role,
    close::CloseCode,
    command::Actor,
    error::{ErrorBody, ErrorCode},
    subject::ConversationSubjects,
};
use ops::auth::{TokenError, verify_staff, verify_visitor};

use crate::{app::App, clock, connections::Owner, directory::Origin, hub::Sender, standing};

/// A person with a valid token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Visitor { tenant: TenantId, visitor: VisitorId, widget: WidgetId },
    Staff { tenant: TenantId, agent: AgentId, role: Role, session: SessionId },
}

/// Why a token does not count here.
#[derive(Debug, Clone, PartialEq)]
pub struct Denied {
    pub error: ErrorBody,
    pub close: CloseCode,
}

impl Denied {
    pub const fn of(error: ErrorBody, close: CloseCode) -> Self {
        Self { error, close }
    }

    fn new(code: ErrorCode, message: impl Into<String>, close: CloseCode) -> Self {
        Self::of(ErrorBody::new(code, message), close)
    }

    fn token(reason: &str) -> Self {
        Self::new(
            ErrorCode::Unauthenticated,
            format!("the token does not count: {reason}"),
            CloseCode::TokenInvalid,
        )
    }

    /// A good token's tenant or widget is not here: removed, or so new that this edge has yet to hear of it.
    fn unknown(what: &str, is_deleted: bool) -> Self {
        if is_deleted {
            return Self::token(&format!("no such {what}"));
        }
        let message = format!("this edge does not know the token's {what} yet");
        Self::new(ErrorCode::Unavailable, message, CloseCode::Unverified)
    }
}

impl Who {
    pub const fn tenant(self) -> TenantId {
        match self {
            Who::Visitor { tenant, .. } | Who::Staff { tenant, .. } => tenant,
        }
    }

    pub const fn author(self) -> Author {
        match self {
            Who::Visitor { visitor, .. } => Author::visitor(visitor),
            Who::Staff { agent, .. } => Author::agent(agent),
        }
    }

    /// Who it is, whatever the token or widget.
    pub const fn person(self) -> (TenantId, Author) {
        (self.tenant(), self.author())
    }

    pub const fn role(self) -> Option<Role> {
        match self {
            Who::Visitor { .. } => None,
            Who::Staff { role, .. } => Some(role),
        }
    }

    pub const fn audience(self) -> Audience {
        match self {
            Who::Visitor { .. } => Audience::All,
            Who::Staff { .. } => Audience::Staff,
        }
    }

    pub const fn actor(self) -> Actor {
        match self {
            Who::Visitor { visitor, .. } => Actor::visitor(visitor),
            Who::Staff { agent, role, .. } => Actor::agent(agent, role),
        }
    }

    pub const fn sender(self) -> Sender {
        match self {
            Who::Visitor { visitor, .. } => Sender::Visitor(visitor),
            Who::Staff { tenant, agent, role, .. } => Sender::Staff { tenant, agent, role },
        }
    }

    /// The conversation, if it can be this person's business at all: visitors have exactly one.
    pub fn home(self, app: &App, conversation: ConversationId) -> Result<ConversationSubjects, ErrorBody> {
        if let Who::Visitor { tenant, visitor, .. } = self
            && conversation != ConversationId::of(tenant, visitor)
        {
            return Err(ErrorCode::NotFound.into());
        }
        app.core.home(self.tenant(), conversation).ok_or_else(|| ErrorCode::NotFound.into())
    }
}

/// What a token proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub owner: Owner,
    pub ends: Timestamp,
}

/// Reads a token, and checks that the page it is used from is on its widget's or tenant's list. Whether a visitor is
/// banned or erased is for [`standing::visitor_record`] to say.
pub fn authenticate(app: &App, token: &str, origin: &Origin) -> Result<Known, Denied> {
    let now = clock::now();
    let index = app.core.directory.now();
    let seconds =
        |exp: u64| Timestamp::from_millis(i64::try_from(exp.saturating_mul(1000)).unwrap_or(i64::MAX));
    let staff = verify_staff(&app.keys, token, now);
    let (who, issued, ends, listed) = match staff {
        Ok(claims) => {
            let unknown = || Denied::unknown("tenant", index.is_deleted_tenant(claims.tid));
            let tenant = index.tenant(claims.tid).ok_or_else(unknown)?;
            let who =
                Who::Staff { tenant: claims.tid, agent: claims.sub, role: claims.role, session: claims.sid };
            (who, seconds(claims.iat), seconds(claims.exp), origin.is_in(&tenant.console_origins))
        }
        Err(not_staff) => {
            let claims = verify_visitor(&app.keys, token, now).map_err(|error| denied(not_staff, error))?;
            let unknown = || Denied::unknown("widget", index.is_deleted_widget(claims.tid, claims.wid));
            let widget = index.widget(claims.tid, claims.wid).ok_or_else(unknown)?;
            let who = Who::Visitor { tenant: claims.tid, visitor: claims.sub, widget: claims.wid };
            (who, seconds(claims.iat), seconds(claims.exp), origin.is_in(&widget.allowed_origins))
        }
    };
    if !listed && !origin.is_in(&app.open_origins) {
        let message = "this page's origin is not on the list of the token's widget or tenant";
        return Err(Denied::new(ErrorCode::OriginNotAllowed, message, CloseCode::OriginNotAllowed));
    }
    if app.core.home(who.tenant(), ConversationId::NIL).is_none() {
        return Err(Denied::token("its tenant is served elsewhere"));
    }
    if let Who::Staff { .. } = who
        && !app.revoked.is_vouched()
    {
        let message = "whether the session was ended cannot be verified now";
        return Err(Denied::new(ErrorCode::Unavailable, message, CloseCode::Unverified));
    }
    if let Some(code) = standing::barred(app, who) {
        return Err(Denied::new(ErrorCode::Unauthenticated, "the session was ended", code));
    }
    Ok(Known { owner: Owner { who, issued }, ends })
}

fn denied(as_staff: TokenError, as_visitor: TokenError) -> Denied {
    if TokenError::Expired == as_staff || TokenError::Expired == as_visitor {
        return Denied::new(ErrorCode::Unauthenticated, "the token has expired", CloseCode::TokenExpired);
    }
    // Which of the two says more: the one that knew the key.
    let reason = if as_visitor == TokenError::UnknownKey { as_staff } else { as_visitor };
    Denied::token(&reason.to_string())
}
