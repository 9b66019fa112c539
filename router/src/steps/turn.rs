//! Whether a router decides: when everything it needs has been read to its end, and it is its turn.

/// What is read before anything is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Log,
    Config,
    Leases,
}

const SOURCES: [Source; 3] = [Source::Log, Source::Config, Source::Leases];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    Active,
    #[default]
    StandBy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Take commands and decide, from now on …
    Begin,
    /// … or no longer.
    End,
}

#[derive(Debug, Default)]
pub struct Turn {
    whole: Vec<Source>,
    role: Role,
    decides: bool,
}

impl Turn {
    /// Everything of this source that was there at the beginning has been read.
    pub fn whole(&mut self, source: Source) -> Option<Change> {
        if !self.whole.contains(&source) {
            self.whole.push(source);
        }
        self.change()
    }

    pub fn is_whole(&self, source: Source) -> bool {
        self.whole.contains(&source)
    }

    pub fn role(&mut self, role: Role) -> Option<Change> {
        self.role = role;
        self.change()
    }

    pub fn decides(&self) -> bool {
        self.decides
    }

    fn change(&mut self) -> Option<Change> {
        let decides = self.role == Role::Active && SOURCES.iter().all(|source| self.is_whole(*source));
        let before = std::mem::replace(&mut self.decides, decides);
        (before != decides).then_some(if decides { Change::Begin } else { Change::End })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_decided_before_everything_is_read_nor_out_of_turn() {
        let mut turn = Turn::default();
        assert_eq!(turn.whole(Source::Log), None);
        assert_eq!(turn.role(Role::Active), None);
        assert_eq!(turn.whole(Source::Config), None);
        assert_eq!(turn.whole(Source::Leases), Some(Change::Begin));
        assert_eq!(turn.whole(Source::Leases), None);
        assert_eq!(turn.role(Role::StandBy), Some(Change::End));
        assert_eq!(turn.role(Role::StandBy), None);
        assert_eq!(turn.role(Role::Active), Some(Change::Begin));
    }
}
