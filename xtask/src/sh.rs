//! Running other programs: each is shown as a line that can be pasted into a shell, and a failure says what to do.

use std::{
    borrow::Cow,
    env,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Where Debian keeps programs for root, which an ordinary user's PATH leaves out.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Runs `command` to its end, its output going where ours goes. `remedy` tells the user what to do when it fails.
pub fn run(command: &mut Command, remedy: &str) -> Result<()> {
    announce(command);
    let status = command.status().with_context(|| cannot_run(command, remedy))?;
    if !status.success() {
        bail!("{}", failed(command, &status.to_string(), remedy));
    }
    Ok(())
}

/// Runs `command` and passes its standard output on line by line, showing each line to `each` as well.
pub fn run_watched(command: &mut Command, remedy: &str, mut each: impl FnMut(&str)) -> Result<()> {
    announce(command);
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| cannot_run(command, remedy))?;
    let mut reader = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        std::io::stdout().write_all(&line)?;
        each(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{}", failed(command, &status.to_string(), remedy));
    }
    Ok(())
}

/// What `command` writes to standard output. Questions to the system, too many and too dull to be announced.
pub fn output(command: &mut Command, remedy: &str) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| cannot_run(command, remedy))?;
    if !output.status.success() {
        bail!("{}", failed(command, &output.status.to_string(), remedy));
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` did not write UTF-8", line(command)))
}

/// Becomes `command`: its exit status and the terminal's signals are then its own business. Returns only to say why not.
pub fn exec(command: &mut Command, remedy: &str) -> Result<()> {
    announce(command);
    Err(command.exec()).with_context(|| cannot_run(command, remedy))
}

/// The file that runs as `program`, looked for in PATH and in the directories for root's programs.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

fn announce(command: &Command) {
    eprintln!("+ {}", line(command));
}

fn cannot_run(command: &Command, remedy: &str) -> String {
    format!("cannot run `{}`\n  {remedy}", line(command))
}

fn failed(command: &Command, status: &str, remedy: &str) -> String {
    format!("`{}` failed ({status})\n  {remedy}", line(command))
}

/// The command as one would type it, with the variables set for it. PATH is left out: it is long and says little.
pub fn line(command: &Command) -> String {
    let variables = command.get_envs().filter(|(name, _)| *name != "PATH").filter_map(|(name, value)| {
        Some(format!("{}={}", name.to_string_lossy(), quoted(&value?.to_string_lossy())))
    });
    let words = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| quoted(&word.to_string_lossy()).into_owned());
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(program: &str, environment: &[(&str, &str)], args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.envs(environment.iter().copied()).args(args);
        command
    }

    #[test]
    fn lines_can_be_pasted_into_a_shell() {
        let cases = [
            (command("cargo", &[], &["build", "--release"]), "cargo build --release"),
            (command("cargo", &[("RUSTC_BOOTSTRAP", "1")], &["fuzz"]), "RUSTC_BOOTSTRAP=1 cargo fuzz"),
            (command("cargo", &[("PATH", "/bin"), ("A", "b c")], &["doc"]), "A='b c' cargo doc"),
            (command("echo", &[], &["a b", "it's", ""]), r"echo 'a b' 'it'\''s' ''"),
        ];
        for (command, expected) in cases {
            assert_eq!(line(&command), expected);
        }
    }

    #[test]
    fn a_failure_names_the_command_and_the_remedy() {
        let error = run(&mut Command::new("false"), "try true").expect_err("false fails").to_string();
        assert_eq!(error, "`false` failed (exit status: 1)\n  try true");
        let error = run(&mut Command::new("/nonexistent/tool"), "install it").expect_err("there is none");
        assert!(
            format!("{error:#}").starts_with("cannot run `/nonexistent/tool`\n  install it: No such file")
        );
    }

    #[test]
    fn watched_lines_arrive_in_order() {
        let mut lines = Vec::new();
        run_watched(Command::new("printf").arg("one\ntwo\n"), "", |line| lines.push(line.to_owned()))
            .expect("printf");
        assert_eq!(lines, ["one", "two"]);
    }
}
