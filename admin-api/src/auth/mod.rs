//! Accounts, passwords, tokens and sessions.

mod budget;
mod login;
mod me;
mod password;
mod refresh;
mod register;
mod session;
mod sessions;
mod token;

pub use budget::Budgets;
pub use login::{LoggedIn, Login, account_by_email, login};
pub use me::{Me, PatchMe, PutStatus, StatusView, me, patch_me, put_status};
pub use password::{Hashed, Passwords};
pub use refresh::{Refresh, Tokens as FreshTokens, refresh};
pub use register::{Register, register};
pub use session::{Ended, end_sessions_of, forget_expired};
pub use sessions::{SessionView, Validated, jwks, logout, revoke, sessions, validate};
pub use token::Tokens;
