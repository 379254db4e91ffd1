//! As much HTTP/1.1 as the example needs, over a parser that is well kept. One thread per
//! connection, which stays open.

use super::router::{Desk, Router};
use super::table::Home;
use super::{Fault, Refusal};
use planbox::sync::thread;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// The longest head of a request or an answer that is read.
const HEAD_MAX_BYTES: usize = 8_192;

/// Serves `router` until the process ends.
pub(crate) fn serve(listener: &TcpListener, home: &Home, router: &Arc<dyn Router>) {
    for stream in listener.incoming().flatten() {
        let (home, router) = (home.clone(), Arc::clone(router));
        // A connection that no thread can be had for is closed.
        drop(thread::spawn("connection", move || {
            if let Err(refusal) = converse(stream, &home, router.as_ref()) {
                eprintln!("router: a connection ended: {refusal}");
            }
        }));
    }
}

fn converse(mut stream: TcpStream, home: &Home, router: &dyn Router) -> Result<(), Refusal> {
    stream.set_nodelay(true)?;
    let mut desk = Desk::new(home)?;
    let mut buffer = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(&buffer).map_err(bad_request)?;
        let httparse::Status::Complete(length) = parsed else {
            if fill(&mut stream, &mut buffer)? == 0 {
                return Ok(());
            }
            continue;
        };
        let (method, target) = (request.method, request.path);
        let outcome = answer(
            router,
            &mut desk,
            method.unwrap_or_default(),
            target.unwrap_or_default(),
        );
        let (status, body) = match outcome {
            Ok(body) => (200, body),
            Err(refusal) => (refusal.status, refusal.body()),
        };
        let text = format!(
            "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(text.as_bytes())?;
        buffer.drain(..length);
    }
}

/// Reads some more; how much. A head that is too long is refused.
fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<usize, Refusal> {
    if buffer.len() > HEAD_MAX_BYTES {
        return Err(bad_request("the head is too long"));
    }
    let mut more = [0; 2_048];
    let read = stream.read(&mut more)?;
    buffer.extend_from_slice(more.get(..read).unwrap_or_default());
    Ok(read)
}

fn bad_request(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(400, "bad-request", format!("{why}"))
}

fn answer(
    router: &dyn Router,
    desk: &mut Desk,
    method: &str,
    target: &str,
) -> Result<String, Refusal> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let find = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(found, _)| *found == name).map(|pair| pair.1)
    };
    let across = find("across").is_some();
    match (method, path) {
        ("POST", "/activate") => {
            let version = find("version").ok_or_else(|| bad_request("which version?"))?;
            let stored = router.activate(version, &Fault::from(find("fault")))?;
            let body = serde_json::json!({
                "version": stored.version(),
                "generation": stored.generation(),
            });
            Ok(body.to_string())
        }
        ("GET", "/predict") => {
            let x = find("x").and_then(|x| x.parse().ok());
            let x = x.ok_or_else(|| bad_request("x is a number"))?;
            Ok(router.predict(desk, x, across)?.body())
        }
        ("GET", "/metrics") => Ok(router.metrics(desk, across)?.body()),
        _ => Err(Refusal::new(
            404,
            "no-such-page",
            "activate, metrics, predict",
        )),
    }
}

/// One connection to a router.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects to a router of this machine.
    pub(crate) fn connect(port: u16) -> Result<Self, Refusal> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        let buffer = Vec::new();
        Ok(Self { stream, buffer })
    }

    /// Sends a request without waiting for the answer.
    pub(crate) fn send(&mut self, method: &str, target: &str) -> Result<(), Refusal> {
        let text = format!("{method} {target} HTTP/1.1\r\nhost: router\r\n\r\n");
        Ok(self.stream.write_all(text.as_bytes())?)
    }

    /// Status and body of the next answer.
    pub(crate) fn receive(&mut self) -> Result<(u16, String), Refusal> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(&self.buffer).map_err(bad_request)?;
            if let httparse::Status::Complete(head) = parsed {
                let status = response.code.unwrap_or(0);
                let mut lengths = response.headers.iter().filter(|header| {
                    let name = header.name;
                    name.eq_ignore_ascii_case("content-length")
                });
                let length = lengths.next().and_then(|header| {
                    let text = std::str::from_utf8(header.value).ok()?;
                    text.parse::<usize>().ok()
                });
                let end = head + length.unwrap_or(0);
                if let Some(body) = self.buffer.get(head..end) {
                    let body = String::from_utf8_lossy(body).into_owned();
                    self.buffer.drain(..end);
                    return Ok((status, body));
                }
            }
            if fill(&mut self.stream, &mut self.buffer)? == 0 {
                return Err(Refusal::new(500, "closed", "the router is gone"));
            }
        }
    }

    /// Asks and waits for the answer.
    pub(crate) fn ask(&mut self, method: &str, target: &str) -> Result<(u16, String), Refusal> {
        self.send(method, target)?;
        self.receive()
    }
}
