//! The streams of a command in a container. kube's ends of them do not see each other go: after a broken connection nobody
//! closes what is read from, and once the command has ended nobody takes what is written. Its status tells both, so each
//! stream watches that.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, SimplexStream, WriteHalf};
use tokio::task::coop;

/// How a command ends; `None` is a connection that ended before it did.
pub(super) type Ending = Shared<BoxFuture<'static, Option<Status>>>;

/// What is known of the command.
enum Watch {
    Runs(Ending),
    Ended,
    Broken,
}

impl Watch {
    fn look(&mut self, context: &mut Context<'_>) {
        if let Self::Runs(ending) = self
            && let Poll::Ready(status) = ending.poll_unpin(context)
        {
            *self = if status.is_some() {
                Self::Ended
            } else {
                Self::Broken
            };
        }
    }
}

/// What a command prints. It is at its end when the command is, or when the connection is lost.
pub struct Output {
    stream: ReadHalf<SimplexStream>,
    watch: Watch,
}

/// What is written to a command; [`super::close`] tells it the end. Writing fails once the command has ended.
pub struct Input {
    stream: WriteHalf<SimplexStream>,
    watch: Watch,
}

impl Output {
    pub(super) fn new(stream: ReadHalf<SimplexStream>, ending: &Ending) -> Self {
        Self {
            stream,
            watch: Watch::Runs(ending.clone()),
        }
    }
}

impl Input {
    pub(super) fn new(stream: WriteHalf<SimplexStream>, ending: &Ending) -> Self {
        Self {
            stream,
            watch: Watch::Runs(ending.clone()),
        }
    }
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            return Poll::Ready(read);
        }
        self.watch.look(context);
        if !matches!(self.watch, Watch::Broken) {
            return Poll::Pending;
        }
        // Everything that came before the connection broke is in the buffer by now.
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            // Pending for want of budget is no end: the task is polled again then.
            Poll::Pending if coop::has_budget_remaining() => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl AsyncWrite for Input {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(context, bytes) {
            return Poll::Ready(written);
        }
        self.watch.look(context);
        if matches!(self.watch, Watch::Runs(_)) {
            Poll::Pending
        } else {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, simplex};
    use tokio::sync::oneshot;

    fn ending() -> (oneshot::Sender<Status>, Ending) {
        let (sender, receiver) = oneshot::channel::<Status>();
        (sender, receiver.map(Result::ok).boxed().shared())
    }

    async fn soon<T>(work: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(5), work)
            .await
            .expect("it hangs")
    }

    #[tokio::test]
    async fn a_broken_connection_ends_what_is_read() {
        let (reader, mut writer) = simplex(1 << 20);
        let (status, ending) = ending();
        let mut output = Output::new(reader, &ending);
        let sent = vec![7; 700_000];
        writer.write_all(&sent).await.unwrap();
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            // Small reads use the task's budget up.
            let mut piece = [0; 100];
            while let Ok(count @ 1..) = output.read(&mut piece).await {
                all.extend_from_slice(&piece[..count]);
            }
            all
        });
        drop((writer, status));
        assert_eq!(soon(reading).await.unwrap(), sent);
    }

    #[tokio::test]
    async fn a_command_that_ends_well_is_read_to_its_own_end() {
        let (reader, mut writer) = simplex(16);
        let (status, ending) = ending();
        let mut output = Output::new(reader, &ending);
        status.send(Status::default()).unwrap();
        let late = async {
            tokio::task::yield_now().await;
            writer.write_all(b"late").await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut all = Vec::new();
        let (read, ()) = soon(async { tokio::join!(output.read_to_end(&mut all), late) }).await;
        assert_eq!((read.unwrap(), &all[..]), (4, &b"late"[..]));
    }

    #[tokio::test]
    async fn nothing_is_written_to_a_command_that_has_ended() {
        for ends_well in [true, false] {
            let (_reader, writer) = simplex(16);
            let (status, ending) = ending();
            let mut input = Input::new(writer, &ending);
            let writing = tokio::spawn(async move { input.write_all(&[0; 100]).await });
            tokio::task::yield_now().await;
            if ends_well {
                status.send(Status::default()).unwrap();
            } else {
                drop(status);
            }
            let error = soon(writing).await.unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
    }
}
