//! Going on with a new token, and leaving.

use bus_schema::{
    ErrorBody, ErrorCode,
    protocol::{Done, Nothing, RefreshToken, Refreshed},
};
use bytes::Bytes;
use serde_json::value::RawValue;

use crate::{
    conn::Reply,
    session::{Known, Who, authenticate, login::Session, request},
    socket::Outgoing,
};

const NORMAL_CLOSURE: u16 = 1000;

pub fn refresh_token(session: &Session, reply: Reply, payload: Option<&RawValue>) {
    let wanted: RefreshToken = match request::payload(payload) {
        Ok(wanted) => wanted,
        Err(error) => return reply.fail(error),
    };
    match authenticate(&session.app, &wanted.token, &session.origin) {
        Ok(Known { owner, ends }) if same_person(owner.who, session.who) => {
            // From now on it is the new token's session whose end ends the connection.
            session.app.connections.claim(&session.conn, owner);
            session.conn.set_token_end(ends);
            reply.ok(&Refreshed { token_expires_at: ends });
        }
        Ok(_) => reply.fail(ErrorBody::new(ErrorCode::Forbidden, "the token is another person's")),
        Err(denied) => reply.fail(denied.error),
    }
}

/// A new token may come from a new login, and never changes who one is or what one may do.
fn same_person(new: Who, old: Who) -> bool {
    new.tenant() == old.tenant() && new.author() == old.author() && new.role() == old.role()
}

pub fn logout(session: &Session, reply: Reply, payload: Option<&RawValue>) {
    if let Err(error) = request::payload::<Nothing>(payload) {
        return reply.fail(error);
    }
    reply.ok(&Done {});
    // The client asked for it: a normal closure.
    session.conn.outbox.push(Outgoing::CloseEcho(Bytes::copy_from_slice(&NORMAL_CLOSURE.to_be_bytes())));
}
