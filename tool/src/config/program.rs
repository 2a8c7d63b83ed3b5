//! `set!NAME = program`: what a program prints.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Time a program has.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of its output.
const OUTPUT_MAX: u64 = 4096;

/// Runs `/bin/sh -c PROGRAM`: its standard output.
///
/// # Errors
/// One line: it did not start, failed, took too long or printed too much.
pub(crate) fn run(program: &str) -> Result<String, String> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", program])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("/bin/sh: {error}"))?;
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        // Its own thread, because reading a pipe cannot be given a time.
        std::thread::spawn(move || {
            let mut text = String::new();
            let read = stdout.take(OUTPUT_MAX + 1).read_to_string(&mut text);
            let _ = sender.send(read.map(|_| text));
        });
    }
    let text = match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(text)) if text.len() as u64 <= OUTPUT_MAX => text,
        Ok(Ok(_)) => {
            end(&mut child);
            return Err(format!("printed more than {OUTPUT_MAX} bytes: {program}"));
        }
        Ok(Err(error)) => {
            end(&mut child);
            return Err(format!("{error}: {program}"));
        }
        Err(_) => {
            end(&mut child);
            return Err(format!(
                "not done within {} seconds: {program}",
                PATIENCE.as_secs()
            ));
        }
    };
    // It has closed its output; what it does after that is waited for.
    match child.wait() {
        Ok(status) if status.success() => Ok(text),
        Ok(status) => Err(format!("{status}: {program}")),
        Err(error) => Err(format!("{error}: {program}")),
    }
}

fn end(child: &mut std::process::Child) {
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_taken_and_failures_are_said() {
        assert_eq!(run("echo 512; true").as_deref(), Ok("512\n"));
        assert!(run("exit 3").unwrap_err().contains('3'));
        assert!(run("yes").unwrap_err().contains("more than 4096"));
    }
}
