//! Skills: what agents have and threads want. One rule for both, so that whatever is wanted can be had.

use crate::{
    FieldError,
    limits::{SKILL_CHARS_MAX, SKILLS_MAX},
};

/// Everything that is wrong with a list of skills, which stands at `pointer` of a request.
pub fn flaws(pointer: &str, skills: &[String]) -> Vec<FieldError> {
    let most = (skills.len() > SKILLS_MAX)
        .then(|| FieldError::new(pointer, format!("must hold at most {SKILLS_MAX} skills")));
    // Beyond the most of them nothing is looked at.
    let known = &skills[..skills.len().min(SKILLS_MAX)];
    let each = known.iter().enumerate().filter_map(|(at, skill)| {
        let flaw = flaw(skill).or_else(|| known[..at].contains(skill).then(|| "is there twice".to_owned()));
        Some(FieldError::new(format!("{pointer}/{at}"), flaw?))
    });
    most.into_iter().chain(each).collect()
}

fn flaw(skill: &str) -> Option<String> {
    if !(1..=SKILL_CHARS_MAX).contains(&skill.chars().count()) {
        return Some(format!("must have 1 to {SKILL_CHARS_MAX} characters"));
    }
    if skill.chars().any(char::is_control) {
        return Some("must not hold control characters".to_owned());
    }
    skill.trim().is_empty().then(|| "must not be blank".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(skills: &[&str]) -> Vec<String> {
        let skills: Vec<String> = skills.iter().map(|skill| (*skill).to_owned()).collect();
        flaws("/s", &skills).into_iter().map(|flaw| flaw.pointer).collect()
    }

    #[test]
    fn each_flaw_is_named_where_it_is() {
        let long = "ü".repeat(SKILL_CHARS_MAX);
        assert_eq!(pointers(&["latin", "Latin", "left handed", &long]), [""; 0]);
        let longer = format!("{long}ü");
        assert_eq!(pointers(&["", " ", "a\nb", &longer, "x", "x"]), ["/s/0", "/s/1", "/s/2", "/s/3", "/s/5"]);
        let many: Vec<String> = (0..=SKILLS_MAX).map(|n| n.to_string()).collect();
        assert_eq!(flaws("/s", &many[1..]), []);
        assert_eq!(flaws("/s", &many)[0].pointer, "/s");
    }
}
