//! `docs/features.md` links only tests that are there.

use std::path::Path;

/// Flows that the page must have, in their order.
const FLOWS: [&str; 12] = [
    "Authentication",
    "Projects",
    "Project events",
    "Inbox operations",
    "Conversation assignments",
    "From the dashboard to the widget",
    "From the widget to the dashboard",
    "Widget connection",
    "Visitor sessions",
    "Action templates",
    "Canned responses",
    "Webhooks",
];

/// The name and the file of ``- [`name`](file)``.
fn link(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("- [`")?.strip_suffix(')')?.split_once("`](")
}

#[test]
fn every_flow_links_tests_that_exist() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let page = std::fs::read_to_string(docs.join("features.md")).unwrap();
    let sections: Vec<&str> = page.split("\n## ").skip(1).collect();
    let titles: Vec<&str> = sections.iter().map(|section| section.lines().next().unwrap()).collect();
    assert_eq!(titles, FLOWS);
    for section in sections {
        let links: Vec<_> = section.lines().filter(|line| line.starts_with("- ")).collect();
        assert!(!links.is_empty(), "no test walks {section}");
        for line in links {
            let (name, file) = link(line).unwrap_or_else(|| panic!("{line} links no test"));
            let text =
                std::fs::read_to_string(docs.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let is_test =
                text.split(&format!("fn {name}(")).next().filter(|before| before.len() < text.len());
            let attribute = is_test.and_then(|before| before.rsplit("#[").next());
            assert!(attribute.is_some_and(|a| a.contains("test")), "{file} has no test {name}");
        }
    }
}
