//! A netlink monitor beside a test.

use std::sync::Arc;

use mif_core::pvd::event::{Event, KernelRoute, Link};
use mif_user::net::{
    self, Message,
    netlink::{self, Monitor},
};
use tokio::sync::{Notify, mpsc};

use crate::namespace::ip;

/// A monitor that runs beside the test.
pub struct Watch {
    messages: mpsc::Receiver<Message>,
    task: tokio::task::JoinHandle<Result<(), netlink::Error>>,
    /// Asks for a dump.
    pub unsure: Arc<Notify>,
}

impl Watch {
    /// A monitor, and what its first dump said.
    pub async fn start(receive_buffer: usize) -> (Self, Vec<Message>) {
        let monitor = Monitor::with_receive_buffer(receive_buffer).expect("rtnetlink");
        let (sender, messages) = mpsc::channel(net::CHANNEL_MESSAGES);
        let unsure = monitor.unsure();
        let mut watch = Self { messages, task: tokio::spawn(monitor.run(sender)), unsure };
        let first = watch.until(|message| *message == Message::Event(Event::ResyncEnd)).await;
        (watch, first)
    }

    pub async fn next(&mut self) -> Message {
        self.messages.recv().await.expect("the monitor runs")
    }

    /// All messages up to the first that fits, that one included.
    pub async fn until(&mut self, fits: impl Fn(&Message) -> bool) -> Vec<Message> {
        let mut seen = Vec::new();
        loop {
            let message = self.next().await;
            let found = fits(&message);
            seen.push(message);
            if found {
                return seen;
            }
        }
    }

    pub async fn event(&mut self, event: Event) {
        let wanted = Message::Event(event);
        self.until(|message| *message == wanted).await;
    }

    pub async fn link(&mut self, fits: impl Fn(&Link) -> bool) {
        self.until(|message| matches!(message, Message::Event(Event::Link(link)) if fits(link))).await;
    }

    /// The first news of a route to this prefix, and all messages before it.
    pub async fn route(&mut self, prefix: &str) -> (KernelRoute, Vec<Message>) {
        let mut seen = self.until(|message| route_to(message, prefix).is_some()).await;
        let last = seen.pop().expect("until() ends with it");
        (route_to(&last, prefix).expect("until() ends with it").clone(), seen)
    }

    /// The receiver goes: the task ends by itself, without an error.
    pub async fn stop(self) {
        drop(self.messages);
        // It notices with the next message.
        ip("addr add 2001:db8:ffff::1/128 dev lo");
        ip("addr del 2001:db8:ffff::1/128 dev lo");
        self.task.await.expect("no panic").expect("no error");
    }
}

pub fn route_to<'a>(message: &'a Message, prefix: &str) -> Option<&'a KernelRoute> {
    match message {
        Message::Event(Event::Route(route)) if route.prefix.to_string() == prefix => Some(route),
        _ => None,
    }
}
