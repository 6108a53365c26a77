//! The pages of the repository: no link leads nowhere, every page stands in the table of contents, and every block of Rust is run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::{files, root, shown};

/// What is looked at of a page.
#[derive(Debug, Default)]
struct Page {
    /// Where its links lead, as they are written.
    links: Vec<String>,
    /// What its headings can be linked by.
    anchors: BTreeSet<String>,
    /// The words after the fences of its blocks.
    blocks: Vec<String>,
}

impl Page {
    fn read(text: &str) -> Page {
        let (mut page, mut heading) = (Page::default(), None::<String>);
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string())
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(words))) => page.blocks.push(words.into_string()),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.add_anchor(&heading.take().unwrap_or_default()),
                Event::Text(part) | Event::Code(part) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&part);
                    }
                }
                _ => {}
            }
        }
        page
    }

    /// As readers of Markdown make them: lower case, without signs, with hyphens for spaces, and a number behind one that was there before.
    fn add_anchor(&mut self, heading: &str) {
        let kept = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .collect::<String>();
        let plain = kept.trim().replace(' ', "-");
        let mut anchor = plain.clone();
        for number in 1.. {
            if self.anchors.insert(anchor) {
                return;
            }
            anchor = format!("{plain}-{number}");
        }
    }
}

/// The pages of the repository, by their paths from its root.
fn pages() -> BTreeMap<String, Page> {
    let pages = files().into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "md"));
    // One that was removed and not committed yet is none.
    let read = pages.filter_map(|file| Some((shown(&file), Page::read(&std::fs::read_to_string(&file).ok()?))));
    read.collect()
}

/// A path with its `..` taken out; `None` if it leads out of the repository.
fn tidy(path: &Path) -> Option<String> {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if !tidy.pop() => return None,
            Component::Normal(name) => tidy.push(name),
            _ => {}
        }
    }
    Some(tidy.display().to_string())
}

/// What is wrong with a link of a page; `None` if it leads somewhere.
fn wrong(pages: &BTreeMap<String, Page>, from: &str, link: &str) -> Option<&'static str> {
    if link.starts_with("https://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let Some(to) = (match path {
        "" => Some(from.to_owned()),
        path => tidy(&Path::new(from).parent().unwrap_or(Path::new("")).join(path)),
    }) else {
        return Some("it leads out of the repository");
    };
    if !root().join(&to).exists() {
        return Some("nothing is there");
    }
    if in_book(from) && !in_book(&to) {
        return Some("it leads out of the book, which can be read without the repository");
    }
    match (anchor, pages.get(&to)) {
        (None, _) => None,
        (Some(anchor), Some(page)) if page.anchors.contains(anchor) => None,
        (Some(_), _) => Some("the page has no such heading"),
    }
}

fn in_book(page: &str) -> bool {
    page.starts_with("docs/")
}

/// Whether rustdoc takes a block with these words for Rust.
fn is_rust(words: &str) -> bool {
    let first = words.split([',', ' ']).next().unwrap_or_default();
    matches!(first, "" | "rust" | "ignore" | "no_run" | "should_panic" | "compile_fail")
}

#[test]
fn no_link_leads_nowhere() {
    let pages = pages();
    let mut found = 0;
    let mut dead = Vec::new();
    for (from, page) in &pages {
        found += page.links.len();
        dead.extend(
            page.links.iter().filter_map(|link| Some(format!("{from}: {link}: {}", wrong(&pages, from, link)?))),
        );
    }
    assert!(found > 100, "there are more links than {found}");
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn dead_links_are_found() {
    let pages = BTreeMap::from([
        ("README.md".to_owned(), Page::read("# The `first` page, and more\n\n## Again\n\n## Again\n")),
        ("docs/faq.md".to_owned(), Page::read("[a](../README.md) ![b](nowhere.png)\n\n```sh\n[c](d)\n```\n`[e](f)`\n")),
    ]);
    assert_eq!(pages["docs/faq.md"].links, ["../README.md", "nowhere.png"]);
    let wrong = |from, link| wrong(&pages, from, link);
    for link in ["README.md", "#the-first-page-and-more", "README.md#again-1", "docs/faq.md", "https://example.com/x"] {
        assert_eq!(wrong("README.md", link), None, "{link}");
    }
    for link in ["nowhere.md", "#again-2", "docs/faq.md#again", "../README.md", "src/lib.rs#again"] {
        assert!(wrong("README.md", link).is_some(), "{link}");
    }
    assert!(wrong("docs/faq.md", "../README.md").is_some());
    assert_eq!(wrong("docs/faq.md", "spec/entry.md"), None);
}

#[test]
fn every_page_of_the_book_stands_in_its_summary_once() {
    let pages = pages();
    let mut listed: Vec<String> = pages["docs/SUMMARY.md"].links.iter().map(|link| format!("docs/{link}")).collect();
    listed.sort_unstable();
    let there: Vec<&String> = pages.keys().filter(|page| in_book(page) && *page != "docs/SUMMARY.md").collect();
    assert_eq!(listed.iter().collect::<Vec<_>>(), there, "what SUMMARY.md lists, and what there is");
}

/// Where the blocks of a page are run. A page of the book is compiled by the crate that it is about.
#[test]
fn every_block_of_rust_is_run() {
    let sources =
        ["src/book.rs", "conformance/src/lib.rs"].map(|file| std::fs::read_to_string(root().join(file)).unwrap());
    let mut run = 0;
    for (name, page) in pages() {
        let rust: Vec<&String> = page.blocks.iter().filter(|words| is_rust(words)).collect();
        if rust.is_empty() {
            continue;
        }
        assert!(rust.iter().all(|words| !words.contains("ignore")), "{name} has blocks of Rust that nobody compiles");
        let named = sources.iter().any(|source| source.contains(&format!("../{name}\"")));
        assert!(named, "src/book.rs does not name {name}, which has blocks of Rust");
        run += rust.len();
    }
    assert!(run > 20, "there are more blocks than {run}");
}
