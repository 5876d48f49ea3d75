//! What answering a rule may cost. The interpreter knows no bounds of its own, so an expression is rewritten when it is read:
//! each round of a loop and each call first asks the meter, and what makes a new value shows it. Once a bound is reached the
//! meter refuses everything, so that also loops within loops end at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, operators,
};
use cel::{Context, ExecutionError, Value};
use thiserror::Error;

/// Rounds and calls of one expression. The greatest payload of a push has a few thousand commits and files.
const STEPS: u32 = 100_000;
/// Bytes of the values that one expression makes.
const BYTES: usize = 16 << 20;
/// What all expressions may take that one delivery is asked about.
const TIME: Duration = Duration::from_secs(1);
/// Loops within one another.
const LOOPS: usize = 4;
/// Parts of an expression within one another, such as sums of sums: the interpreter is recursive, and its stack is not large.
const DEEPEST: usize = 48;
/// So many of them are answered on the stack that is there; for more there is a thread with this one, in bytes.
const SHALLOW: usize = 12;
const STACK: usize = 16 << 20;

/// Functions that no text can name: an `@` begins no name of CEL.
const STEP: &str = "@step";
const MADE: &str = "@made";

/// What a value is taken to weigh beside its text.
const WEIGHT: usize = 16;

/// Why answering a rule was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Exceeded {
    /// Too many rounds and calls.
    #[error("takes more than {STEPS} steps over this payload")]
    Steps,
    /// Too long, with what was answered before about the same delivery.
    #[error("takes longer than {} ms over this payload", TIME.as_millis())]
    Time,
    /// Makes too much of what it is given.
    #[error("makes more than {} MiB of this payload", BYTES >> 20)]
    Size,
    /// It is deep, and the system has no thread to spare.
    #[error("cannot be answered now: no thread could be started")]
    Room,
}

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// For each expression.
    pub(super) steps: u32,
    /// Bytes, for each expression.
    pub(super) bytes: usize,
    /// For all of them.
    pub(super) time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { steps: STEPS, bytes: BYTES, time: TIME }
    }
}

/// Counts what expressions take that are asked over one payload.
#[derive(Clone)]
pub(super) struct Meter(Arc<Mutex<Count>>);

struct Count {
    bounds: Bounds,
    steps: u32,
    bytes: usize,
    /// What is left of the time when the expression at hand began.
    left: Duration,
    begun: Instant,
    exceeded: Option<Exceeded>,
}

impl Count {
    fn take(&mut self, steps: u32, bytes: usize) -> Result<(), ExecutionError> {
        self.steps = self.steps.saturating_add(steps);
        self.bytes = self.bytes.saturating_add(bytes);
        let exceeded = if self.steps > self.bounds.steps {
            Some(Exceeded::Steps)
        } else if self.bytes > self.bounds.bytes {
            Some(Exceeded::Size)
        } else if self.begun.elapsed() > self.left {
            Some(Exceeded::Time)
        } else {
            None
        };
        self.exceeded = self.exceeded.or(exceeded);
        match self.exceeded {
            None => Ok(()),
            Some(why) => Err(ExecutionError::FunctionError { function: STEP.to_owned(), message: why.to_string() }),
        }
    }
}

impl Meter {
    /// A meter whose functions the context has.
    pub(super) fn within(bounds: Bounds, context: &mut Context<'_, '_>) -> Result<Self, cel::DeclarationError> {
        let Bounds { time: left, .. } = bounds;
        let count = Count { bounds, steps: 0, bytes: 0, left, begun: Instant::now(), exceeded: None };
        let meter = Self(Arc::new(Mutex::new(count)));
        let (stepping, making) = (meter.clone(), meter.clone());
        context.add_function(STEP, move || stepping.with(|count| count.take(1, 0)).map(|()| true))?;
        context.add_function(MADE, move |value: Value| {
            making.with(|count| count.take(1, weight(&value))).map(|()| value)
        })?;
        Ok(meter)
    }

    fn with<T>(&self, doing: impl FnOnce(&mut Count) -> T) -> T {
        doing(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What `answer` comes to within the bounds.
    ///
    /// # Errors
    /// A bound was reached, whatever the expression made of that.
    fn measured<T>(&self, answer: impl FnOnce() -> T) -> Result<T, Exceeded> {
        self.with(|count| (count.steps, count.bytes, count.begun) = (0, 0, Instant::now()));
        let answer = answer();
        self.with(|count| {
            count.left = count.left.saturating_sub(count.begun.elapsed());
            count.exceeded.map_or(Ok(answer), Err)
        })
    }
}

/// About how many bytes a value takes.
fn weight(value: &Value) -> usize {
    WEIGHT
        + match value {
            Value::String(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(items) => items.iter().map(weight).sum(),
            Value::Map(map) => map.map.values().map(|value| 2 * WEIGHT + weight(value)).sum(),
            _ => 0,
        }
}

/// An expression with the meter in it.
#[derive(Debug)]
pub(super) struct Metered {
    root: IdedExpr,
    /// Whether it wants a stack of its own.
    deep: bool,
}

impl Metered {
    /// Puts the meter into an expression.
    ///
    /// # Errors
    /// A phrase: it has too many loops, or parts, within one another.
    pub(super) fn new(expression: &IdedExpr) -> Result<Self, String> {
        if !is_shallow(expression, DEEPEST) {
            return Err(format!("the expression has more than {DEEPEST} parts within one another"));
        }
        let (mut root, deep) = (expression.clone(), !is_shallow(expression, SHALLOW));
        if !put_in(&mut root, 0) {
            return Err(format!("the expression has more than {LOOPS} loops within one another"));
        }
        Ok(Self { root, deep })
    }

    /// What the expression comes to over this context, which has the meter's functions.
    ///
    /// # Errors
    /// A bound was reached. Within: why it comes to nothing.
    pub(super) fn execute(
        &self,
        context: &Context<'_, '_>,
        meter: &Meter,
    ) -> Result<Result<Value, ExecutionError>, Exceeded> {
        let answer = || context.resolve(&self.root);
        if self.deep { meter.measured(|| aside(answer))?.ok_or(Exceeded::Room) } else { meter.measured(answer) }
    }
}

/// Answers on a stack that is large enough for the deepest; none when there is no thread for it.
fn aside<T: Send>(answer: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let thread =
            thread::Builder::new().name("rule".to_owned()).stack_size(STACK).spawn_scoped(scope, answer).ok()?;
        Some(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Whether no part is deeper than so many others.
fn is_shallow(node: &IdedExpr, left: usize) -> bool {
    let Some(left) = left.checked_sub(1) else { return false };
    let entry = |entry: &IdedEntryExpr| match &entry.expr {
        EntryExpr::StructField(field) => is_shallow(&field.value, left),
        EntryExpr::MapEntry(entry) => is_shallow(&entry.key, left) && is_shallow(&entry.value, left),
    };
    match &node.expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).all(|it| is_shallow(it, left)),
        Expr::Comprehension(each) => {
            let parts = [&each.iter_range, &each.accu_init, &each.loop_cond, &each.loop_step, &each.result];
            parts.into_iter().all(|it| is_shallow(it, left))
        }
        Expr::List(list) => list.elements.iter().all(|it| is_shallow(it, left)),
        Expr::Map(map) => map.entries.iter().all(entry),
        Expr::Struct(fields) => fields.entries.iter().all(entry),
        Expr::Select(select) => is_shallow(&select.operand, left),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => true,
    }
}

/// Puts the meter in; whether the loops are few enough.
fn put_in(node: &mut IdedExpr, loops: usize) -> bool {
    match &mut node.expr {
        Expr::Call(call) => {
            let target = call.target.as_deref_mut().is_none_or(|target| put_in(target, loops));
            let inner = target && call.args.iter_mut().all(|arg| put_in(arg, loops));
            match call.func_name.as_str() {
                operators::ADD => made(node),
                operators::CONDITIONAL
                | operators::LOGICAL_AND
                | operators::LOGICAL_OR
                | operators::LOGICAL_NOT
                | operators::NOT_STRICTLY_FALSE => {}
                _ => stepped(node),
            }
            inner
        }
        Expr::Comprehension(each) => {
            loops < LOOPS && put_in(&mut each.iter_range, loops) && put_in_loop(each, loops + 1)
        }
        Expr::List(list) => {
            let optional = std::mem::take(&mut list.optional_indices);
            let inner = list.elements.iter_mut().enumerate().all(|(at, element)| {
                let inner = put_in(element, loops);
                if !optional.contains(&at) {
                    made(element);
                }
                inner
            });
            list.optional_indices = optional;
            inner
        }
        Expr::Map(map) => map.entries.iter_mut().all(|entry| put_in_entry(entry, loops)),
        Expr::Struct(fields) => fields.entries.iter_mut().all(|entry| put_in_entry(entry, loops)),
        Expr::Select(select) => put_in(&mut select.operand, loops),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => true,
    }
}

fn put_in_entry(entry: &mut IdedEntryExpr, loops: usize) -> bool {
    let (key, value, optional) = match &mut entry.expr {
        EntryExpr::StructField(field) => (None, &mut field.value, field.optional),
        EntryExpr::MapEntry(entry) => (Some(&mut entry.key), &mut entry.value, entry.optional),
    };
    let inner = key.is_none_or(|key| put_in(key, loops)) && put_in(value, loops);
    if !optional {
        made(value);
    }
    inner
}

/// A loop, as the macros `all`, `exists`, `exists_one`, `filter` and `map` write it. The interpreter tells them by their form,
/// and does well with those it knows: the form stays, the meter goes where it keeps it.
fn put_in_loop(each: &mut ComprehensionExpr, loops: usize) -> bool {
    if let Expr::Call(call) = &mut each.loop_step.expr {
        match (call.func_name.as_str(), call.args.as_mut_slice()) {
            // `@result && condition`: what goes wrong in a round may be made good by a later one; not so in the loop's own.
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [_, condition]) => {
                let inner = put_in(condition, loops);
                stepped(&mut each.loop_cond);
                return inner;
            }
            // `condition ? @result + … : @result`
            (operators::CONDITIONAL, [condition, then, _]) => {
                let inner = put_in(condition, loops) && put_in_appended(then, loops);
                stepped(condition);
                return inner;
            }
            (operators::ADD, [_, _]) => return put_in_appended(&mut each.loop_step, loops),
            _ => {}
        }
    }
    stepped(&mut each.loop_cond);
    put_in(&mut each.loop_step, loops)
}

/// `@result + [value]`, where the list stays; or `@result + 1`.
fn put_in_appended(step: &mut IdedExpr, loops: usize) -> bool {
    match &mut step.expr {
        Expr::Call(call) => call.args.iter_mut().all(|arg| put_in(arg, loops)),
        _ => put_in(step, loops),
    }
}

/// `@step() ? node : null`: unlike `&&`, that takes no wrong for an answer.
fn stepped(node: &mut IdedExpr) {
    let inner = std::mem::take(node);
    let step = called(STEP, Vec::new());
    let null = IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Null) };
    *node = IdedExpr { id: inner.id, ..called(operators::CONDITIONAL, vec![step, inner, null]) };
}

/// `@made(node)`
fn made(node: &mut IdedExpr) {
    let inner = std::mem::take(node);
    *node = IdedExpr { id: inner.id, ..called(MADE, vec![inner]) };
}

fn called(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }) }
}
