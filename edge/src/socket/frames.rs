//! Frames as they are written: unmasked, never fragmented.

use bytes::BufMut as _;

use super::Outgoing;

/// A ping without a payload: one is enough to be told from none.
pub const PING: [u8; 2] = [0x89, 0];

pub fn encode(out: &mut Vec<u8>, frame: &Outgoing) {
    const TEXT: u8 = 0x81;
    const CLOSE: u8 = 0x88;
    const PONG: u8 = 0x8a;
    match frame {
        Outgoing::Text { shared, own } => {
            head(out, TEXT, shared.len() + own.len());
            out.extend_from_slice(shared);
            out.extend_from_slice(own);
        }
        Outgoing::Pong(payload) => {
            head(out, PONG, payload.len());
            out.extend_from_slice(payload);
        }
        Outgoing::CloseEcho(payload) => {
            head(out, CLOSE, payload.len());
            out.extend_from_slice(payload);
        }
        Outgoing::Close(code) => {
            head(out, CLOSE, 2 + code.name().len());
            out.put_u16(code.number());
            out.extend_from_slice(code.name().as_bytes());
        }
    }
}

/// An unmasked frame's header.
fn head(out: &mut Vec<u8>, first: u8, length: usize) {
    out.push(first);
    match length {
        0..126 => out.push(length as u8),
        126..65_536 => {
            out.push(126);
            out.put_u16(length as u16);
        }
        _ => {
            out.push(127);
            out.put_u64(length as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_schema::close::CloseCode;
    use fastwebsockets::{Frame, OpCode, Payload, Role, after_handshake_split};

    #[tokio::test]
    async fn frames_of_every_size_are_read_back_by_another_reader() {
        let mut bytes = Vec::new();
        let texts: Vec<String> = [0, 125, 126, 65_535, 65_536].iter().map(|n| "x".repeat(*n)).collect();
        for text in &texts {
            let (shared, own) = text.split_at(text.len() / 2);
            encode(
                &mut bytes,
                &Outgoing::Text { shared: shared.to_owned().into(), own: own.to_owned().into() },
            );
        }
        bytes.extend(PING);
        encode(&mut bytes, &Outgoing::Close(CloseCode::SlowConsumer));
        let (mut reader, _) = after_handshake_split(&bytes[..], tokio::io::sink(), Role::Client);
        reader.set_auto_close(false);
        let mut ignore = |_: Frame<'_>| std::future::ready(Ok::<(), std::io::Error>(()));
        for text in &texts {
            let frame = reader.read_frame(&mut ignore).await.unwrap();
            assert_eq!((frame.opcode, &frame.payload[..]), (OpCode::Text, text.as_bytes()));
        }
        reader.set_auto_pong(false);
        let ping = reader.read_frame(&mut ignore).await.unwrap();
        assert_eq!((ping.opcode, ping.payload.len()), (OpCode::Ping, 0));
        let close = reader.read_frame(&mut ignore).await.unwrap();
        let Payload::Bytes(payload) = close.payload else { panic!("a read payload is bytes") };
        assert_eq!(&payload[..], [&3001_u16.to_be_bytes()[..], b"slow_consumer"].concat());
    }
}
