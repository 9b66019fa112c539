//! A number that a service tells of itself.

use std::net::SocketAddr;

use anyhow::Context as _;

use crate::dev::probe;

/// Of exactly this name, summed over labels.
pub async fn metric(ops: SocketAddr, name: &str) -> anyhow::Result<f64> {
    let answer = probe::get(ops, "/metrics").await.context("ask for metrics")?;
    sum_of(&answer.body, name).with_context(|| format!("{name} is not told"))
}

fn sum_of(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
        rest.rsplit_once(' ')?.1.parse::<f64>().ok()
    });
    values.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_summed_and_longer_names_are_others() {
        let text = "# TYPE a_total counter\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\na_total_seconds 7\nb 1\n";
        assert_eq!(
            (sum_of(text, "a_total"), sum_of(text, "b"), sum_of(text, "c")),
            (Some(5.0), Some(1.0), None)
        );
    }
}
