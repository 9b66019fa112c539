//! Close codes of the socket: the range alone tells a client what to do (contract §3).

macro_rules! codes {
    ($($variant:ident $number:literal $name:literal $meaning:literal;)*) => {
        /// Why the server closed a socket.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CloseCode { $(#[doc = $meaning] $variant,)* }

        impl CloseCode {
            pub const ALL: &'static [CloseCode] = &[$(CloseCode::$variant,)*];

            pub const fn number(self) -> u16 {
                match self { $(CloseCode::$variant => $number,)* }
            }

            /// Sent as the close reason, and the label of metrics.
            pub const fn name(self) -> &'static str {
                match self { $(CloseCode::$variant => $name,)* }
            }

            pub const fn meaning(self) -> &'static str {
                match self { $(CloseCode::$variant => $meaning,)* }
            }

            pub fn parse(number: u16) -> Option<Self> {
                match number { $($number => Some(CloseCode::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    Protocol 1002 "protocol" "a frame broke RFC 6455";
    InvalidText 1007 "invalid_text" "a text frame was not UTF-8";
    MessageTooLarge 1009 "message_too_large" "a message was larger than the limit";
    Shutdown 3000 "shutdown" "the edge is being stopped";
    SlowConsumer 3001 "slow_consumer" "the client read too slowly";
    Unverified 3002 "unverified" "the edge lost the bus and cannot vouch for what it shows";
    Timeout 3003 "timeout" "nothing was heard of the client";
    Overloaded 3004 "overloaded" "the edge takes no more now";
    TokenExpired 3005 "token_expired" "refresh the token first";
    LoginRequired 3500 "login_required" "something was said, but no login in time";
    TokenInvalid 3501 "token_invalid" "the token is not valid";
    Revoked 3502 "revoked" "the session was ended";
    Banned 3503 "banned" "the visitor is banned";
    Evicted 3504 "evicted" "a newer connection took the place of this one";
    ProtocolError 3505 "protocol_error" "too many frames that are not requests";
    OriginNotAllowed 3506 "origin_not_allowed" "the page's origin is not on the token's list";
}

impl CloseCode {
    /// Whether a client should reconnect, with backoff, and resume.
    pub const fn reconnect(self) -> bool {
        reconnect(self.number())
    }
}

/// What a client does with a close code that it may not know.
pub const fn reconnect(number: u16) -> bool {
    !matches!(number, 3500..=3999 | 1002 | 1007 | 1009)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_decides() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::parse(code.number()), Some(*code));
            if code.number() >= 3000 {
                assert_eq!(code.reconnect(), code.number() < 3500, "{code:?}");
            }
        }
        assert!(reconnect(1006) && reconnect(3499) && !reconnect(3999));
    }
}
