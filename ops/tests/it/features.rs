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

/// A function of this name, right below an attribute that makes it a test.
fn has_test(text: &str, name: &str) -> bool {
    let before =
        |line: &str| line.trim_start().trim_start_matches("async ").starts_with(&format!("fn {name}("));
    let lines: Vec<&str> = text.lines().collect();
    lines.windows(2).any(|pair| {
        let attribute = pair[0].trim_start();
        before(pair[1]) && (attribute == "#[test]" || attribute.starts_with("#[tokio::test"))
    })
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
            assert!(has_test(&text, name), "{file} has no test {name}");
        }
    }
}
