//! The user's terminal, handed over to a program in a container for as long as it runs.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::{mpsc, oneshot};

/// Whether both ends of a conversation are a terminal.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Columns and rows; `None` where stdout is no terminal.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some((size.ws_col, size.ws_row))
}

/// Every key goes to the program, Ctrl+C too, until this is dropped.
pub struct Raw(Termios);

impl Raw {
    /// Switches the terminal over.
    pub fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no settings.
        let _restored = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Asks for one line on the terminal without showing what is typed. The terminal is as it was before when this ends or is dropped,
/// which Ctrl+C does.
pub async fn hidden_line(question: &str) -> io::Result<String> {
    let before = tcgetattr(io::stdin())?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    let mut out = io::stderr();
    write!(out, "{question} ")?;
    out.flush()?;
    tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
    let _restored = Raw(before);
    // In a thread that nothing waits for: reading can't be cancelled.
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        // Whoever asked may be gone.
        drop(sender.send(read.map(|_| line)));
    });
    let line = receiver.await.map_err(io::Error::other)??;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Lets the user's editor work on a file, and waits for it.
pub fn edit(editor: &str, file: &Path) -> io::Result<()> {
    // `code --wait` and the like have words of their own.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let ended = std::process::Command::new(program)
        .args(words)
        .arg(file)
        .status()?;
    if ended.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{program} ended with {ended}")))
}

/// What comes on standard input, in a thread of its own: reading cannot be cancelled, and nothing must wait for a last
/// key that nobody will press. The channel closes at the end of input.
pub fn input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match io::stdin().lock().read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
            }
        }
    });
    receiver
}
