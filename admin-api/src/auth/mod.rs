//! Accounts, passwords, tokens and sessions.

mod account_change;
mod budget;
mod devices;
mod enter;
mod invitation;
mod login;
pub mod mailed;
mod me;
mod mfa;
mod oidc;
mod password;
mod refresh;
mod register;
mod reset;
mod rotation;
pub mod secret;
mod session;
mod sessions;
mod token;

pub use account_change::AccountChange;
pub use budget::Budgets;
pub use devices::{DeviceView, NewDevice, add_device, devices, remove_device};
pub use enter::{CompleteLogin, complete_login};
pub use invitation::{AcceptInvitation, accept_invitation, invite_again};
pub use login::{LoggedIn, Login, account_by_email, login};
pub use me::{Me, PatchMe, PutStatus, StatusView, me, patch_me, put_status};
pub use mfa::{Code, PrepareTotp, RecoveryCodes, TotpSecret, confirm_totp, prepare_totp, remove_mfa};
pub use oidc::{Providers, oidc_callback, oidc_start};
pub use password::{Hashed, Passwords};
pub use refresh::{Refresh, Tokens as FreshTokens, refresh};
pub use register::{Register, register};
pub use reset::{ChangePassword, Forgot, Reset, change_password, forgot, reset};
pub use rotation::keep;
pub use session::{Ended, end_sessions_of, forget_expired};
pub use sessions::{Jwks, SessionView, Validated, jwks, logout, revoke, sessions, validate};
pub use token::Tokens;
