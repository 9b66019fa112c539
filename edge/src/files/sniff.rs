//! What a file is, by its bytes; what it is said to be counts for nothing.
//!
//! Invariant: pure; what passes is served with a type that no browser runs: programs, scripts and documents that can
//! hold scripts (HTML, SVG) are refused, by their bytes and by endings that systems run, and what is not known is
//! `application/octet-stream`.

use bus_schema::{ErrorBody, ErrorCode};
use infer::MatcherType;

/// Bytes from a file's beginning that are looked at.
pub const HEAD_BYTES: usize = 64 * 1024;

const UNKNOWN: &str = "application/octet-stream";
const TEXT: &str = "text/plain";

/// What a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub content_type: &'static str,
    /// Of an image, in pixels.
    pub size: Option<(u32, u32)>,
}

/// Endings of what some system runs when it is opened.
#[rustfmt::skip]
const RUN: &[&str] = &[
    "apk", "app", "appimage", "bash", "bat", "bin", "chm", "cmd", "com", "command", "cpl", "crx", "csh", "deb",
    "desktop", "dll", "dmg", "exe", "gadget", "hta", "htm", "html", "inf", "ins", "iso", "jar", "js", "jse", "jsp",
    "ksh", "lnk", "mhtml", "mjs", "msc", "msi", "msp", "mst", "php", "pif", "pkg", "pl", "ps1", "psm1", "py", "pyc",
    "rb", "reg", "rpm", "scf", "scr", "sh", "shtml", "svg", "svgz", "swf", "sys", "url", "vb", "vbe", "vbs", "wasm",
    "ws", "wsf", "wsh", "xhtml", "xht", "xsl", "xslt", "zsh",
];
/// Packages that install programs, and what holds them.
const PACKAGES: &[&str] = &[
    "application/x-google-chrome-extension",
    "application/vnd.debian.binary-package",
    "application/x-rpm",
    "application/x-shockwave-flash",
];
/// Of the types that stand among programs, those that are none.
const NO_PROGRAMS: &[&str] = &["application/x-x509-ca-cert", "application/x-qemu-disk"];
/// What makes markup more than text.
const ACTIVE: &[&str] =
    &["<svg", "<html", "<script", "<!doctype", "<body", "<head", "<iframe", "xhtml", "stylesheet"];

/// What a file with this name and beginning is; or why it is not taken.
pub fn sniff(name: &str, head: &[u8]) -> Result<Found, ErrorBody> {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    if ending.is_some_and(|ending| RUN.contains(&ending.as_str())) {
        return Err(refused("programs, scripts and web pages are not taken"));
    }
    let Some(found) = infer::get(head) else { return text_or_unknown(head) };
    let content_type = found.mime_type();
    match found.matcher_type() {
        MatcherType::App if !NO_PROGRAMS.contains(&content_type) => Err(refused("programs are not taken")),
        _ if PACKAGES.contains(&content_type) => Err(refused("programs are not taken")),
        MatcherType::Text if content_type == "text/xml" => text_or_unknown(head),
        MatcherType::Text => Err(refused("scripts and web pages are not taken")),
        MatcherType::Image => Ok(Found { content_type, size: pixels(head) }),
        _ if content_type == "application/x-ole-storage" => Ok(Found { content_type: UNKNOWN, size: None }),
        _ => Ok(Found { content_type, size: None }),
    }
}

fn text_or_unknown(head: &[u8]) -> Result<Found, ErrorBody> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may be cut.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return Ok(Found { content_type: UNKNOWN, size: None }),
    };
    let is_text = !text.is_empty() && !text.chars().any(|c| c.is_control() && !"\t\n\r\x0c\x1b".contains(c));
    if !is_text {
        return Ok(Found { content_type: UNKNOWN, size: None });
    }
    let begins = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if begins.starts_with('<') {
        let lower = begins.to_ascii_lowercase();
        if ACTIVE.iter().any(|sign| lower.contains(sign)) {
            return Err(refused("web pages and SVG images are not taken"));
        }
    }
    Ok(Found { content_type: TEXT, size: None })
}

fn pixels(head: &[u8]) -> Option<(u32, u32)> {
    let size = imagesize::blob_size(head).ok()?;
    Some((u32::try_from(size.width).ok()?, u32::try_from(size.height).ok()?))
}

fn refused(why: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::UnsupportedMediaType, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x02\x08\x02\0\0\0";

    fn kind(name: &str, head: &[u8]) -> Option<&'static str> {
        sniff(name, head).ok().map(|found| found.content_type)
    }

    #[test]
    fn bytes_decide_what_a_file_is() {
        assert_eq!(
            sniff("a.txt", PNG),
            Ok(Found { content_type: "image/png", size: Some((3, 2)) }),
            "whatever its name says"
        );
        for (name, head, expected) in [
            ("a.png", &b"%PDF-1.7\n"[..], "application/pdf"),
            ("a.png", b"GIF89a\x01\0\x01\0", "image/gif"),
            ("a.png", b"just words", TEXT),
            ("a", "größe\u{1b}[0m".as_bytes(), TEXT),
            ("a", &"größe".as_bytes()[..3], TEXT),
            ("a.csv", b"a;b\r\n1;2\r\n", TEXT),
            ("a.md", b"how to write <script> in HTML", TEXT),
            ("a.xml", b"<?xml version=\"1.0\"?><invoice/>", TEXT),
            ("a", b"\0\x01\x02", UNKNOWN),
            ("a", b"\xff\xfe<\0h\0", UNKNOWN),
            ("a", b"", UNKNOWN),
            ("a.zip", b"PK\x03\x04rest", "application/zip"),
        ] {
            assert_eq!(kind(name, head), Some(expected), "{name} {head:?}");
        }
    }

    #[test]
    fn what_can_run_is_refused_by_bytes_and_by_name() {
        for (name, head) in [
            ("a.png", &b"MZ\x90\0"[..]),
            ("a.png", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            ("a.png", b"\0asm\x01\0\0\0"),
            ("a.txt", b"#!/bin/sh\nrm -rf /"),
            ("a.txt", b"  <!DOCTYPE html><p>"),
            ("a.txt", b"<html><script>alert(1)</script>"),
            ("a.png", b"<svg xmlns='http://www.w3.org/2000/svg' onload='x'/>"),
            ("a.xml", b"<?xml version='1.0'?><svg/>"),
            ("a.xml", b"\xef\xbb\xbf<x:html xmlns:x='http://www.w3.org/1999/xhtml'/>"),
            ("a.EXE", b"words"),
            ("a.png.js", b"alert(1)"),
            ("a.svg", PNG),
        ] {
            let error = sniff(name, head).expect_err(name);
            assert_eq!(error.code, ErrorCode::UnsupportedMediaType, "{name} {head:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(name in ".{0,40}", head: Vec<u8>) {
            let _ = sniff(&name, &head);
        }

        #[test]
        fn no_image_header_panics(tail: Vec<u8>) {
            for begin in [PNG, b"GIF89a", b"\xff\xd8\xff\xe0", b"RIFF\0\0\0\0WEBP", b"BM"] {
                let _ = sniff("a", &[begin, &tail].concat());
            }
        }
    }
}
