//! What mails say.
//!
//! Invariant: pure; a token stands behind `#`, which browsers send to no server.

/// A mail's subject and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub subject: String,
    pub text: String,
}

pub fn reset(console: &str, token: &str) -> Letter {
    Letter {
        subject: "Choose a new password".to_owned(),
        text: format!(
            "Somebody, hopefully you, asked for a new password for your account.\n\n\
             Choose one here within 30 minutes:\n{}\n\n\
             If it was not you, do nothing: your password stays as it is.\n",
            link(console, "reset", token)
        ),
    }
}

pub fn invitation(console: &str, token: &str, tenant: &str) -> Letter {
    let tenant = one_line(tenant);
    Letter {
        subject: format!("You are invited to {tenant}"),
        text: format!(
            "You are invited to answer the visitors of {tenant}.\n\n\
             Accept here within 7 days:\n{}\n\n\
             If you have an account already, use its password there; else choose one.\n",
            link(console, "invitation", token)
        ),
    }
}

pub fn password_changed(console: &str) -> Letter {
    Letter {
        subject: "Your password was changed".to_owned(),
        text: format!(
            "The password of your account was changed, and all other sessions were ended.\n\n\
             If it was not you, choose a new one now: {}/forgot\n",
            console.trim_end_matches('/')
        ),
    }
}

fn link(console: &str, page: &str, token: &str) -> String {
    format!("{}/{page}#token={token}", console.trim_end_matches('/'))
}

/// A name that somebody chose must not become a header or a second line.
fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_hide_their_token_from_servers_and_names_stay_on_their_line() {
        let letter = invitation("https://console.example/", "cbm_x", "Ac\r\nme");
        assert!(letter.text.contains("https://console.example/invitation#token=cbm_x\n"), "{}", letter.text);
        assert_eq!(letter.subject, "You are invited to Acme");
        assert!(reset("https://c", "t").text.contains("https://c/reset#token=t\n"));
        assert!(!password_changed("https://c").text.contains("token"));
    }
}
