use std::io;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use reqwest::{
    Body, Method, Response,
    header::{ACCEPT, CONTENT_TYPE},
};
use warren_model::native::{RUN_FRAME_HEADER, RUN_TYPE, RunEnd, RunFrame, RunSpec};

use crate::{Client, ClientError};

/// What happens in a run.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEvent {
    /// Bytes of the standard output.
    Stdout(Bytes),
    /// Bytes of the standard error.
    Stderr(Bytes),
    /// The end, after which nothing comes.
    End(RunEnd),
}

/// A run under way. Dropping it ends the run.
#[derive(Debug)]
pub struct Running {
    client: Client,
    response: Response,
    buffer: BytesMut,
}

impl Client {
    /// Runs a program once. `input` is its standard input; the specification must have none itself. Answers when the sandbox has started.
    pub async fn run(
        &self,
        spec: &RunSpec,
        input: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<Running, ClientError> {
        let mut line =
            serde_json::to_vec(spec).map_err(|error| self.unexpected(error.to_string()))?;
        line.push(b'\n');
        let first = stream::once(async move { Ok::<_, io::Error>(Bytes::from(line)) });
        let request = self
            .request(Method::POST, &["run"])
            .header(CONTENT_TYPE, RUN_TYPE)
            .header(ACCEPT, RUN_TYPE)
            .body(Body::wrap_stream(first.chain(input)));
        Ok(Running {
            response: self.send(request).await?,
            client: self.clone(),
            buffer: BytesMut::new(),
        })
    }
}

impl Running {
    /// Waits for what happens next.
    pub async fn next(&mut self) -> Result<RunEvent, ClientError> {
        loop {
            if let Some(event) = self.parsed()? {
                return Ok(event);
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.buffer.extend_from_slice(&bytes),
                Ok(None) => {
                    let early = "the answer ended before the run did".to_owned();
                    return Err(self.client.unexpected(early));
                }
                Err(error) => return Err(self.client.broken(error)),
            }
        }
    }

    /// The next frame that is here whole.
    fn parsed(&mut self) -> Result<Option<RunEvent>, ClientError> {
        loop {
            let Some(header) = self.buffer.first_chunk::<RUN_FRAME_HEADER>() else {
                return Ok(None);
            };
            let (frame, length) =
                RunFrame::parse(*header).map_err(|bad| self.client.unexpected(bad.to_string()))?;
            if self.buffer.len() < RUN_FRAME_HEADER + length {
                return Ok(None);
            }
            self.buffer.advance(RUN_FRAME_HEADER);
            let payload = self.buffer.split_to(length).freeze();
            return Ok(Some(match frame {
                RunFrame::Alive => continue,
                RunFrame::Stdout => RunEvent::Stdout(payload),
                RunFrame::Stderr => RunEvent::Stderr(payload),
                RunFrame::End => {
                    let end = serde_json::from_slice(&payload);
                    RunEvent::End(end.map_err(|error| self.client.unexpected(error.to_string()))?)
                }
            }));
        }
    }
}
