use std::io;
use std::process;
use std::sync::Arc;

use warren_protocol::{ControlCommand, FrameKind, MAX_PAYLOAD, encode_empty};

use crate::frames::{invalid, read_frame};
use crate::outbox::Outbox;
use crate::report::report;
use crate::supervisor::Supervisor;

/// Follows the host's commands. The end of the stream means that the host is gone: the runtime is killed and the agent exits.
pub(crate) fn serve(outbox: &Outbox, supervisor: &Arc<Supervisor>) -> ! {
    let status = match follow(outbox, supervisor) {
        Ok(()) => 0,
        Err(error) => {
            report(format_args!("control stream: {error}"));
            1
        }
    };
    supervisor.kill();
    process::exit(status)
}

fn follow(outbox: &Outbox, supervisor: &Arc<Supervisor>) -> io::Result<()> {
    let mut stream = outbox.stream();
    while let Some(frame) = read_frame(&mut stream, MAX_PAYLOAD)? {
        match ControlCommand::parse(frame).map_err(invalid)? {
            ControlCommand::Claim(claim) => supervisor.claim(*claim),
            ControlCommand::Ping => {
                let mut pong = Vec::new();
                encode_empty(&mut pong, FrameKind::Pong);
                outbox.send_or_keep(&pong);
            }
            ControlCommand::Kill => supervisor.kill(),
            ControlCommand::Deadline(deadline) => supervisor.alarm.apply(deadline),
            ControlCommand::Suspend => supervisor.suspend(),
        }
    }
    Ok(())
}
