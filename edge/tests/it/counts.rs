//! What one test's edges count. Tests run on a thread of their own, and so does all that their edges do.

use ops::metrics::apart;

pub struct Counts {
    render: Box<dyn Fn() -> String>,
}

impl Counts {
    /// From now on, of edges that are started later.
    pub fn begin() -> Self {
        let (handle, guard) = apart().unwrap();
        Self {
            render: Box::new(move || {
                let _ = &guard;
                handle.render()
            }),
        }
    }

    /// How often this limit refused something.
    pub fn refused(&self, limit: &str) -> u64 {
        self.of(&format!("chatbus_edge_refused_total{{limit=\"{limit}\"}} "))
    }

    /// How many sends were looked up in the log.
    pub fn lookups(&self) -> u64 {
        self.of("chatbus_send_lookups_total{outcome=\"read\"} ")
    }

    fn of(&self, name: &str) -> u64 {
        let text = (self.render)();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.expect("every counter is there from the start").parse().unwrap()
    }
}
