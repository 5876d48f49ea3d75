//! YAML to a tree in which every key and every value knows its place.
//!
//! The rules are those of `docker stack deploy`'s parser (go-yaml 3): duplicate keys are errors, `<<` merges maps, anchors
//! are copied. Beyond it: `!reset` and `!override` are kept for merging, a tag nobody knows is an error, and sizes are
//! limited, so that a few lines of aliases cannot fill the memory.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::mend;
use super::scalar::{Kind, resolve};
use super::trail::Walk;

/// The most bytes of one file.
const LARGEST_FILE: usize = 1024 * 1024;
/// The most nodes of one file, aliases expanded.
const MOST_NODES: usize = 100_000;
/// The deepest nesting.
const DEEPEST: usize = 64;

/// The key whose maps are merged into the one that it stands in.
const MERGE: &str = "<<";
/// How a file becomes smaller.
const SPLIT: &str = "put large contents into files of their own, and parts under `include`";

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Position {
    /// Index of the file.
    pub(super) file: usize,
    /// From 1; 0 when not known.
    pub(super) line: u64,
    /// From 1; 0 when not known.
    pub(super) column: u64,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) order: Option<Order>,
    pub(super) value: Value,
}

/// What a value says about the same key in the files before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// `!reset`: as if it had never been written.
    Reset,
    /// `!override`: replaced, not merged.
    Override,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A scalar: as written, and what it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) kind: Kind,
    /// Whether a variable was put in: only then are numbers and booleans read out of text.
    pub(super) interpolated: bool,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) value: Node,
}

impl Node {
    /// A text that stands in no file as such.
    pub(super) fn text(at: Position, text: impl Into<String>) -> Self {
        Self::scalar(at, Scalar { text: text.into(), kind: Kind::Text, interpolated: false })
    }

    /// A null that stands in no file as such.
    pub(super) fn null(at: Position) -> Self {
        Self::scalar(at, Scalar { text: String::new(), kind: Kind::Null, interpolated: false })
    }

    fn scalar(at: Position, scalar: Scalar) -> Self {
        Self { at, order: None, value: Value::Scalar(scalar) }
    }

    /// The value of `key`, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }

    /// The text of a scalar, whatever its kind.
    pub(super) fn written(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if scalar.kind != Kind::Null => Some(&scalar.text),
            _ => None,
        }
    }

    /// Whether it is equal to another one, wherever both stand.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Scalar(a), Value::Scalar(b)) => (&a.text, a.kind) == (&b.text, b.kind),
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.says_the_same(b)),
            (Value::Map(a), Value::Map(b)) => {
                let has =
                    |entry: &Entry| b.iter().any(|it| it.key == entry.key && it.value.says_the_same(&entry.value));
                a.len() == b.len() && a.iter().all(has)
            }
            _ => false,
        }
    }

    /// Whether it is null.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(Scalar { kind: Kind::Null, .. }))
    }
}

/// What is wrong with the YAML.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    pub(super) at: Position,
    /// The dotted path, as far as it is known.
    pub(super) field: String,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

impl Fault {
    fn new(at: Position, message: impl Into<String>, hint: &'static str) -> Self {
        Self { at, field: String::new(), message: message.into(), hint }
    }
}

/// The documents of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Documents {
    pub(super) first: Node,
    /// Those after it, as far as they were asked for; a document that says nothing is none.
    pub(super) others: Vec<Node>,
    /// Where those begin that were not asked for.
    pub(super) unread: Option<Position>,
}

/// The documents in `text`, all of them or the first, or everything found wrong with them.
pub(super) fn parse(file: usize, text: &str, all: bool) -> Result<Documents, Vec<Fault>> {
    let top = Position { file, line: 1, column: 1 };
    if text.len() > LARGEST_FILE {
        return Err(vec![Fault::new(top, format!("the file has {} bytes; 1 MiB is the most", text.len()), SPLIT)]);
    }
    // A last line without a line feed ends a block scalar as it ends in the CLI's parser.
    let options = granit_parser::options! { block_scalar_eof_without_line_feed: true };
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text, options),
        file,
        nodes: 0,
        anchors: HashMap::new(),
        faults: Vec::new(),
        walk: Walk::default(),
    };
    let documents = builder.documents(all).unwrap_or_else(|fault| {
        builder.fault(fault);
        None
    });
    match documents {
        Some(documents) if builder.faults.is_empty() => Ok(documents),
        None if builder.faults.is_empty() => Err(vec![Fault::new(top, "the file is empty", "declare `services`")]),
        _ => Err(builder.faults),
    }
}

/// A finished anchor: its node, the number of its nodes, and how deep it goes.
struct Anchor {
    node: Node,
    nodes: usize,
    depth: usize,
}

struct Builder<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    file: usize,
    nodes: usize,
    anchors: HashMap<usize, Anchor>,
    faults: Vec<Fault>,
    /// To the value that is being read.
    walk: Walk,
}

impl<'t> Builder<'t> {
    fn documents(&mut self, all: bool) -> Result<Option<Documents>, Fault> {
        let Some(first) = self.document(all)? else { return Ok(None) };
        let mut documents = Documents { first, others: Vec::new(), unread: None };
        if all {
            while let Some(other) = self.document(true)? {
                documents.others.push(other);
            }
        } else {
            documents.unread = self.more();
        }
        Ok(Some(documents))
    }

    /// The next document. One without content is passed over where all are read.
    fn document(&mut self, pass_empty: bool) -> Result<Option<Node>, Fault> {
        while let Some((event, span)) = self.next()? {
            if event == Event::StreamEnd {
                break;
            }
            if event.is_node() {
                let (node, _) = self.node(event, &span, 0)?;
                if !(pass_empty && node.is_null()) {
                    return Ok(Some(node));
                }
            }
        }
        Ok(None)
    }

    /// Where something stands behind the first document, be it no YAML.
    fn more(&mut self) -> Option<Position> {
        loop {
            match self.next() {
                Ok(None | Some((Event::StreamEnd, _))) => return None,
                Ok(Some((Event::Scalar(text, ScalarStyle::Plain, ..), _))) if resolve(&text) == Kind::Null => {}
                Ok(Some((event, span))) if event.is_node() => return Some(self.position(&span)),
                Ok(Some(_)) => {}
                Err(fault) => return Some(fault.at),
            }
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Fault> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(found)) => Ok(Some(found)),
            Some(Err(error)) => {
                let marker = error.marker();
                let at = Position { file: self.file, line: wide(marker.line()), column: wide(marker.col()) + 1 };
                let why = error.info();
                Err(Fault::new(at, format!("not valid YAML: {why}"), mend::yaml(&why)))
            }
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.faults.push(Fault { field: self.walk.path().to_owned(), ..fault });
    }

    fn position(&self, span: &Span) -> Position {
        Position { file: self.file, line: wide(span.start.line()), column: wide(span.start.col()) + 1 }
    }

    fn count(&mut self, at: Position, nodes: usize, depth: usize) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MOST_NODES {
            return Err(Fault::new(at, format!("more than {MOST_NODES} values, aliases included"), SPLIT));
        }
        if depth > DEEPEST {
            return Err(Fault::new(at, format!("nested more than {DEEPEST} deep"), "nest less"));
        }
        Ok(())
    }

    /// The node that begins with `event`, and how deep it goes.
    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<(Node, usize), Fault> {
        let at = self.position(span);
        if let Some(id) = event.alias_id() {
            return self.alias(id, at, depth);
        }
        self.count(at, 1, depth)?;
        let before = self.nodes;
        let anchor = event.anchor_id();
        let (order, forced) = self.tag(event.tag(), at);
        let (value, inner) = match event {
            Event::Scalar(text, style, ..) => (Value::Scalar(scalar(text.into_owned(), style, forced.as_deref())), 0),
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            _ => return Err(Fault::new(at, "not valid YAML here", "remove it")),
        };
        let node = Node { at, order, value };
        if let Some(id) = anchor {
            let anchor = Anchor { node: node.clone(), nodes: self.nodes - before + 1, depth: inner };
            self.anchors.insert(id, anchor);
        }
        Ok((node, inner))
    }

    fn alias(&mut self, id: usize, at: Position, depth: usize) -> Result<(Node, usize), Fault> {
        let Some(Anchor { nodes, depth: inner, .. }) = self.anchors.get(&id) else {
            return Err(Fault::new(at, "an alias inside the value it stands for", "remove it"));
        };
        let (nodes, inner) = (*nodes, *inner);
        self.count(at, nodes, depth + inner)?;
        match self.anchors.get(&id) {
            Some(anchor) => Ok((anchor.node.clone(), inner)),
            None => Err(Fault::new(at, "an alias of nothing", "name the value with `&NAME` before")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<(Value, usize), Fault> {
        let (mut items, mut deepest) = (Vec::new(), 0);
        while let Some((event, span)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            if event.is_node() {
                let before = self.walk.item(items.len());
                let (node, inner) = self.node(event, &span, depth + 1)?;
                self.walk.back(before);
                deepest = deepest.max(inner + 1);
                items.push(node);
            }
        }
        Ok((Value::List(items), deepest))
    }

    fn map(&mut self, depth: usize) -> Result<(Value, usize), Fault> {
        let (mut entries, mut merges, mut deepest) = (Vec::<Entry>::new(), false, 0);
        while let Some((event, span)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            if !event.is_node() {
                continue;
            }
            let ((key, at), plain) = self.key(event, &span, depth)?;
            let before = self.walk.key(&key);
            let (value, inner) = loop {
                match self.next()? {
                    Some((event, span)) if event.is_node() => break self.node(event, &span, depth + 1)?,
                    Some(_) => {}
                    None => return Err(Fault::new(at, "a key without a value", "give it one")),
                }
            };
            self.walk.back(before);
            deepest = deepest.max(inner + 1);
            merges |= plain && key == MERGE;
            entries.push(Entry { key, at, value });
        }
        self.refuse_twice(&entries);
        if merges && let Some(at) = entries.iter().position(|entry| entry.key == MERGE) {
            let merged = entries.remove(at).value;
            self.merge(&mut entries, merged);
        }
        Ok((Value::Map(entries), deepest))
    }

    /// Finds fault with each key that stands in a map for the second time.
    fn refuse_twice(&mut self, entries: &[Entry]) {
        let mut order: Vec<&Entry> = entries.iter().collect();
        order.sort_by_key(|entry| entry.key.as_str());
        for same in order.chunk_by(|a, b| a.key == b.key) {
            let [first, others @ ..] = same else { continue };
            for Entry { key, at, .. } in others {
                let before = self.walk.key(key);
                let message = format!("`{key}` stands here twice; first in line {}", first.at.line);
                self.fault(Fault::new(*at, message, "keep one of them"));
                self.walk.back(before);
            }
        }
    }

    /// A key with its place, and whether it is plain.
    fn key(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<((String, Position), bool), Fault> {
        let plain = matches!(&event, Event::Scalar(_, ScalarStyle::Plain, ..));
        let at = self.position(span);
        let (node, _) = self.node(event, span, depth + 1)?;
        let Value::Scalar(scalar) = node.value else {
            return Err(Fault::new(at, "a key that is a map or a list", "use text"));
        };
        if scalar.kind != Kind::Text {
            let message = format!("the key `{}` is {}, not text", scalar.text, scalar.kind.name());
            self.fault(Fault::new(at, message, "put it in quotes"));
        }
        Ok(((scalar.text, at), plain))
    }

    /// Adds what `<<` brings: keys written out win, then the earlier map.
    fn merge(&mut self, entries: &mut Vec<Entry>, merged: Node) {
        let at = merged.at;
        let sources = match merged.value {
            Value::List(items) => items,
            value => vec![Node { at, order: None, value }],
        };
        for source in sources {
            let Value::Map(inherited) = source.value else {
                self.fault(Fault::new(source.at, "`<<` takes a map or a list of maps", "name an anchor: `*name`"));
                continue;
            };
            let known: HashSet<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
            let new: Vec<Entry> = inherited.into_iter().filter(|entry| !known.contains(entry.key.as_str())).collect();
            entries.extend(new);
        }
    }

    /// What the tag orders, and the core type it forces.
    fn tag(&mut self, tag: Option<&Tag>, at: Position) -> (Option<Order>, Option<String>) {
        let Some(tag) = tag else { return (None, None) };
        if let Some(core) = tag.core_suffix() {
            return (None, Some(core.to_owned()));
        }
        match tag.original().as_str() {
            "!reset" => (Some(Order::Reset), None),
            "!override" => (Some(Order::Override), None),
            "!" => (None, Some("str".to_owned())),
            other => {
                let message = format!("unknown YAML tag `{other}`");
                self.fault(Fault::new(at, message, "only `!reset` and `!override` have a meaning here"));
                (None, None)
            }
        }
    }
}

fn scalar(text: String, style: ScalarStyle, forced: Option<&str>) -> Scalar {
    let kind = match (style, forced) {
        (_, Some("str" | "binary")) => Kind::Text,
        (ScalarStyle::Plain, _) | (_, Some(_)) => resolve(&text),
        _ => Kind::Text,
    };
    Scalar { text, kind, interpolated: false }
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
