//! Every test that `docs/conformance.md` names exists and runs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A row of the table that names its tests.
struct Row {
    id: String,
    tests: Vec<(String, String)>,
}

#[test]
fn every_named_test_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the project's root");
    let table = fs::read_to_string(root.join("docs/conformance.md")).expect("docs/conformance.md");
    let rows = rows(&table).unwrap_or_else(|error| panic!("docs/conformance.md: {error}"));
    assert!(!rows.is_empty(), "docs/conformance.md has no rows");
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for Row { id, tests } in &rows {
        if !seen.insert(id) {
            wrong.push(format!("{id} stands there twice"));
        }
        for (package, path) in tests {
            if let Err(error) = find(&folder(root, package), path) {
                wrong.push(format!("{id}: {package} {path}: {error}"));
            }
        }
    }
    for (package, path) in in_text(&table) {
        if let Err(error) = find(&folder(root, &package), &path) {
            wrong.push(format!("in the text: {package} {path}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "docs/conformance.md:\n{}", wrong.join("\n"));
}

/// The rows of every table under an `| ID |` header.
fn rows(markdown: &str) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in markdown.lines() {
        let Some(cells) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            inside = false;
            continue;
        };
        let cells: Vec<_> = cells.split('|').map(str::trim).collect();
        if cells[0] == "ID" {
            inside = true;
        } else if inside && !cells[0].starts_with("---") {
            let [id, requirement, tests] = cells[..] else { return Err(format!("not three cells: {line}")) };
            if id.is_empty() || requirement.is_empty() {
                return Err(format!("an empty cell: {line}"));
            }
            let tests = tests.split(',').map(|test| named(test).ok_or(format!("not a test's name: {test}")));
            rows.push(Row { id: id.to_owned(), tests: tests.collect::<Result<_, _>>()? });
        }
    }
    Ok(rows)
}

/// The tests that are named outside of tables. Other code in the text has no package before it.
fn in_text(markdown: &str) -> Vec<(String, String)> {
    let text: Vec<&str> = markdown.lines().filter(|line| !line.starts_with('|')).collect();
    // A name may begin on one line and end on the next.
    let text = text.join(" ");
    let quoted = text.split('`').skip(1).step_by(2).filter_map(|code| named(&format!("`{code}`")));
    quoted.filter(|(package, path)| package.starts_with("mif-") && path.contains("::")).collect()
}

#[test]
fn names_in_the_text_are_found() {
    let text = "Tested (`mif-core a::b`,\n`mif-tests c::d`), as `a::b` and `ipv4 = \"merge\"` and `mif-core` are not.\n| `mif-core e::f` |\n";
    let found: Vec<_> =
        in_text(text).into_iter().map(|(package, path)| format!("{package} {path}")).collect();
    assert_eq!(found, ["mif-core a::b", "mif-tests c::d"]);
}

/// `PACKAGE path` between backticks.
fn named(test: &str) -> Option<(String, String)> {
    let (package, path) = test.trim().strip_prefix('`')?.strip_suffix('`')?.split_once(' ')?;
    (!package.is_empty() && !path.contains(' ')).then(|| (package.to_owned(), path.to_owned()))
}

/// Packages lie in folders of their names, but for the one that has the scenarios.
fn folder(root: &Path, package: &str) -> PathBuf {
    root.join(if package == "mif-tests" { "tests" } else { package })
}

/// Whether `path` names a test function below `folder`: its first segments lead to a file, the others to modules in it.
fn find(folder: &Path, path: &str) -> Result<(), String> {
    let segments: Vec<_> = path.split("::").collect();
    let (name, modules) = segments.split_last().expect("split gives at least one");
    let mut tried = false;
    for depth in (0..=modules.len()).rev() {
        let (file, inner) = modules.split_at(depth);
        for file in candidates(folder, &file.join("/")) {
            let Ok(source) = fs::read_to_string(&file) else { continue };
            tried = true;
            if inner.iter().all(|module| declares(&source, "mod", module)) && has_test(&source, name)? {
                return Ok(());
            }
        }
    }
    Err(if tried { "no such test".into() } else { format!("no such file below {}", folder.display()) })
}

/// The files that may hold a module: of the library, of a program, of an integration test.
fn candidates(folder: &Path, module: &str) -> Vec<PathBuf> {
    let names = match module {
        "" => vec!["src/lib.rs".into(), "src/main.rs".into()],
        _ => ["src/M.rs", "src/M/mod.rs", "tests/M.rs", "M.rs", "M/main.rs"]
            .map(|name| name.replace('M', module))
            .into(),
    };
    names.iter().map(|name: &String| folder.join(name)).collect()
}

/// Whether a line declares `name`, perhaps after `pub` or `async`.
fn declares(source: &str, keyword: &str, name: &str) -> bool {
    source.lines().any(|line| declaration(line, keyword) == Some(name))
}

fn declaration<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    let mut words = line
        .split_whitespace()
        .skip_while(|word| ["pub", "pub(crate)", "pub(super)", "async"].contains(word));
    if words.next() != Some(keyword) {
        return None;
    }
    let name = words.next()?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// Whether `fn name` stands there as a test: with a `#[test]`-like attribute and no `#[ignore]` above it.
fn has_test(source: &str, name: &str) -> Result<bool, String> {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    for (index, _) in lines.iter().enumerate().filter(|(_, line)| declaration(line, "fn") == Some(name)) {
        let above =
            lines[..index].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        let attributes: Vec<_> = above.filter_map(|line| line.strip_prefix("#[")).collect();
        if attributes.iter().any(|attribute| attribute.starts_with("ignore")) {
            return Err("the test is ignored".into());
        }
        let test =
            |attribute: &&&str| attribute.split(['(', ']']).next().is_some_and(|path| path.ends_with("test"));
        if attributes.iter().any(|attribute| test(&attribute)) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn tests_are_told_from_other_functions() {
    let cases = [
        ("#[test]\nfn a() {", Ok(true)),
        ("    #[tokio::test(flavor = \"current_thread\")]\n    // why\n    async fn a() {", Ok(true)),
        ("    /// Says why.\n    #[test]\n    #[should_panic]\n    fn a(x in 0..3u8) {", Ok(true)),
        ("fn a() {", Ok(false)),
        ("#[test]\nfn ab() {}\nfn a() {}", Ok(false)),
        ("#[cfg(test)]\nfn a() {", Ok(false)),
        ("// fn a()", Ok(false)),
        ("#[test]\n#[ignore = \"slow\"]\nfn a() {", Err("the test is ignored".to_owned())),
    ];
    for (source, expected) in cases {
        assert_eq!(has_test(source, "a"), expected, "{source}");
    }
}

#[test]
fn names_lead_to_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = [
        ("conformance::names_lead_to_files", Ok(())),
        ("test::tally::tests::results_are_summed_and_dead_runners_count", Ok(())),
        ("test::tally::results_are_summed_and_dead_runners_count", Ok(())),
        ("test::tally::wrong::results_are_summed_and_dead_runners_count", Err("no such test".to_owned())),
        ("sh::tests::no_such_name", Err("no such test".to_owned())),
        ("sh::tests::command", Err("no such test".to_owned())),
    ];
    for (path, expected) in cases {
        assert_eq!(find(folder, path), expected, "{path}");
    }
}

#[test]
fn bad_tables_are_refused() {
    let header = "| ID | Requirement | Test |\n|---|---|---|\n";
    let cases = [
        ("| A-1-a | x | `p a::b` |", Ok(1)),
        ("| A-1-a | x | `p a::b`, `q c` |", Ok(2)),
        ("| A-1-a | x |", Err("not three cells: | A-1-a | x |".to_owned())),
        ("| A-1-a | | `p a` |", Err("an empty cell: | A-1-a | | `p a` |".to_owned())),
        ("| A-1-a | x | later |", Err("not a test's name: later".to_owned())),
        ("| A-1-a | x | `a::b` |", Err("not a test's name: `a::b`".to_owned())),
    ];
    for (row, expected) in cases {
        let found = rows(&format!("{header}{row}\n")).map(|rows| rows[0].tests.len());
        assert_eq!(found, expected, "{row}");
    }
    let elsewhere = rows("| word | meaning |\n|---|---|\n| PvD | a domain |\n").map(|rows| rows.len());
    assert_eq!(elsewhere, Ok(0), "tables of another kind are none of ours");
}
