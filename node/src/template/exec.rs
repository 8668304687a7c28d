//! Executes a parsed template on a value.

use bytes::Bytes;

use super::ast::{Command, List, Node, Operand, Pipe, Span};
use super::budget::{Budget, OUTPUT_BYTES_MAX, too_long};
use super::error::RenderError;
use super::funcs::{Fault, Func};
use super::parser::Parsed;
use super::path::follow;
use super::printf;
use super::value::Value;

/// How deep blocks and templates may run in each other; recursion of a template ends here.
const DEPTH_MAX: usize = 250;

/// Renders a template.
pub(super) fn render(source: &Bytes, parsed: &Parsed, data: &Value) -> Result<Vec<u8>, RenderError> {
    let mut run = Run {
        source,
        parsed,
        name: b"",
        out: Vec::new(),
        variables: vec![(b"$", data.clone())],
        base: 0,
        budget: Budget::new(),
        depth: 0,
    };
    run.list(&parsed.main, data)?;
    Ok(run.out)
}

/// One rendering.
struct Run<'t> {
    source: &'t Bytes,
    parsed: &'t Parsed,
    /// The template that runs; empty for the main one.
    name: &'t [u8],
    out: Vec<u8>,
    /// The variables in the order they were set; the last of a name counts.
    variables: Vec<(&'t [u8], Value)>,
    /// Where the variables of the running template begin.
    base: usize,
    budget: Budget,
    depth: usize,
}

/// What goes on after a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'t> Run<'t> {
    fn list(&mut self, list: &'t List, dot: &Value) -> Result<Flow, RenderError> {
        for node in list {
            let flow = self.node(node, dot)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &'t Node, dot: &Value) -> Result<Flow, RenderError> {
        match node {
            Node::Text(text, line) => self.text(text, *line)?,
            Node::Action(pipe) => {
                let shown = self.action(pipe, dot);
                self.locate(pipe.span, shown)?;
            }
            Node::If { arms, otherwise } => return self.arms(arms, otherwise, dot, false),
            Node::With { arms, otherwise } => return self.arms(arms, otherwise, dot, true),
            Node::Range { pipe, body, otherwise } => return self.range(pipe, body, otherwise, dot),
            Node::Template { name, pipe, span } => self.template(name, pipe.as_ref(), *span, dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn text(&mut self, text: &[u8], line: u32) -> Result<(), RenderError> {
        self.out.extend_from_slice(text);
        let spent = self.budget.spend(1).and_then(|()| self.budget.spend_bytes(text.len()));
        let spent = spent.and_then(|()| if self.out.len() > OUTPUT_BYTES_MAX { Err(too_long()) } else { Ok(()) });
        spent.map_err(|fault| RenderError::new(self.name, line, text, fault))
    }

    fn action(&mut self, pipe: &'t Pipe, dot: &Value) -> Result<(), Fault> {
        let value = self.pipe(pipe, dot)?;
        if pipe.variables.is_empty() {
            printf::show(&mut self.out, &value, &mut self.budget)?;
        }
        Ok(())
    }

    fn arms(
        &mut self,
        arms: &'t [(Pipe, List)],
        otherwise: &'t List,
        dot: &Value,
        with: bool,
    ) -> Result<Flow, RenderError> {
        let mark = self.variables.len();
        if let Some((pipe, _)) = arms.first() {
            self.enter(pipe.span)?;
        }
        let mut chosen = (otherwise, None);
        for (pipe, list) in arms {
            let value = self.pipe(pipe, dot);
            let value = self.locate(pipe.span, value)?;
            if value.truth() {
                chosen = (list, with.then_some(value));
                break;
            }
        }
        let (list, inner) = chosen;
        let flow = self.list(list, inner.as_ref().unwrap_or(dot))?;
        self.variables.truncate(mark);
        self.depth -= 1;
        Ok(flow)
    }

    fn range(&mut self, pipe: &'t Pipe, body: &'t List, otherwise: &'t List, dot: &Value) -> Result<Flow, RenderError> {
        let outer = self.variables.len();
        self.enter(pipe.span)?;
        let value = self.pipe(pipe, dot);
        let value = self.locate(pipe.span, value)?;
        let empty = match value {
            Value::Nil => true,
            Value::List(items) => {
                for (at, item) in (0..).zip(items.iter()) {
                    if self.iteration(pipe, body, Value::Int(at), item.clone())? == Flow::Break {
                        break;
                    }
                }
                items.is_empty()
            }
            Value::Map(map) => {
                for (key, item) in map.iter() {
                    if self.iteration(pipe, body, Value::String(key.clone()), item.clone())? == Flow::Break {
                        break;
                    }
                }
                map.is_empty()
            }
            Value::Int(count) => self.count(pipe, body, count, Value::Int)?,
            Value::Whole(count) => self.count(pipe, body, i64::try_from(count).unwrap_or(i64::MAX), Value::Int)?,
            Value::Byte(count) => self.count(pipe, body, i64::from(count), |at| Value::Byte(at.to_le_bytes()[0]))?,
            other => {
                let fault = format!("range takes a list, a map or an integer, this is {}", other.kind());
                return self.locate(pipe.span, Err(fault));
            }
        };
        let after = if empty { self.list(otherwise, dot)? } else { Flow::Next };
        self.variables.truncate(outer);
        self.depth -= 1;
        Ok(after)
    }

    /// Runs the body for 0, 1, … below a count; answers whether there was nothing to run.
    fn count(
        &mut self,
        pipe: &'t Pipe,
        body: &'t List,
        count: i64,
        item: fn(i64) -> Value,
    ) -> Result<bool, RenderError> {
        if pipe.variables.len() > 1 {
            let fault = "a range over an integer sets one variable only".to_owned();
            return self.locate(pipe.span, Err(fault));
        }
        for at in 0..count {
            if self.iteration(pipe, body, Value::Nil, item(at))? == Flow::Break {
                break;
            }
        }
        Ok(count <= 0)
    }

    fn iteration(&mut self, pipe: &'t Pipe, body: &'t List, index: Value, item: Value) -> Result<Flow, RenderError> {
        let mark = self.variables.len();
        let set = self.budget.spend(1).and_then(|()| match pipe.variables.as_slice() {
            [first, second] => {
                self.set_loop_variable(pipe, first, 2, index)?;
                self.set_loop_variable(pipe, second, 1, item.clone())
            }
            [only] => self.set_loop_variable(pipe, only, 1, item.clone()),
            _ => Ok(()),
        });
        self.locate(pipe.span, set)?;
        let flow = self.list(body, &item)?;
        self.variables.truncate(mark);
        Ok(flow)
    }

    /// Sets a variable of a range, which stands `from_top` places from the top unless it existed before.
    fn set_loop_variable(&mut self, pipe: &Pipe, name: &[u8], from_top: usize, value: Value) -> Result<(), Fault> {
        if pipe.assigns {
            return self.assign(name, value);
        }
        let at = self.variables.len() - from_top;
        self.variables[at].1 = value;
        Ok(())
    }

    fn template(
        &mut self,
        name: &'t Bytes,
        pipe: Option<&'t Pipe>,
        span: Span,
        dot: &Value,
    ) -> Result<(), RenderError> {
        let Some((name, body)) = self.parsed.named.get_key_value(name) else {
            let fault = "no template of this name; write it with define".to_owned();
            return self.locate(span, Err(fault));
        };
        self.enter(span)?;
        let data = match pipe {
            Some(pipe) => self.pipe(pipe, dot),
            None => Ok(Value::Nil),
        };
        let data = self.locate(span, data)?;
        let mark = self.variables.len();
        let outer = (self.base, self.name);
        (self.base, self.name) = (mark, name);
        self.variables.push((b"$", data.clone()));
        self.list(body, &data)?;
        (self.base, self.name) = outer;
        self.variables.truncate(mark);
        self.depth -= 1;
        Ok(())
    }

    /// Runs the commands of a pipeline and sets its variables.
    fn pipe(&mut self, pipe: &'t Pipe, dot: &Value) -> Result<Value, Fault> {
        self.budget.spend(1)?;
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.expect("a pipeline has a command");
        for name in &pipe.variables {
            if pipe.assigns {
                self.assign(name, value.clone())?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    fn command(&mut self, command: &'t Command, dot: &Value, piped: Option<Value>) -> Result<Value, Fault> {
        match &command.word {
            Operand::Function(function) => self.call(*function, &command.arguments, dot, piped),
            _ if !command.arguments.is_empty() || piped.is_some() => {
                Err("only a function takes arguments; call one, such as index or printf".to_owned())
            }
            Operand::Nil => Err("nil is no command; compare with it, as in eq .x nil".to_owned()),
            word => self.operand(word, dot),
        }
    }

    fn operand(&mut self, operand: &'t Operand, dot: &Value) -> Result<Value, Fault> {
        self.budget.spend(1)?;
        match operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Nil => Ok(Value::Nil),
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Field(path) => follow(dot, "", path).map_err(|fault| self.hint_at_root(dot, &path[0], fault)),
            Operand::Variable(name, path) => {
                let at = self.find(name)?;
                follow(&self.variables[at].1, &String::from_utf8_lossy(name), path)
            }
            Operand::Function(function) => self.call(*function, &[], dot, None),
            Operand::Paren(pipe) => self.pipe(pipe, dot),
            Operand::Chain(inner, path) => {
                let value = self.operand(inner, dot)?;
                follow(&value, "(…)", path)
            }
        }
    }

    fn call(
        &mut self,
        function: Func,
        operands: &'t [Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Fault> {
        self.budget.spend(1)?;
        function.check_arity(operands.len() + usize::from(piped.is_some()))?;
        let mut arguments = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            let value = self.operand(operand, dot)?;
            let decided = match function {
                Func::And => !value.truth(),
                Func::Or => value.truth(),
                _ => false,
            };
            if decided {
                return Ok(value);
            }
            arguments.push(value);
        }
        arguments.extend(piped);
        function.call(&arguments, &mut self.budget)
    }

    /// Adds to a fault that the whole data has the field which the dot lacks.
    fn hint_at_root(&self, dot: &Value, field: &[u8], mut fault: Fault) -> Fault {
        let has = |value: &Value| matches!(value, Value::Map(map) if map.get(field).is_some());
        if !has(dot) && has(&self.variables[self.base].1) {
            let name = String::from_utf8_lossy(field);
            fault.push_str(&format!(" (inside with and range the dot is the element; $.{name} exists)"));
        }
        fault
    }

    /// Where the variable of a name stands.
    fn find(&mut self, name: &[u8]) -> Result<usize, Fault> {
        let known = &self.variables[self.base..];
        let at = known.iter().rposition(|(known, _)| *known == name);
        self.budget.spend(known.len() / 32)?;
        at.map(|at| self.base + at).ok_or_else(|| {
            let name = String::from_utf8_lossy(name);
            format!("variable {name} is not set here; set it with {name} := before")
        })
    }

    fn assign(&mut self, name: &[u8], value: Value) -> Result<(), Fault> {
        let at = self.find(name)?;
        self.variables[at].1 = value;
        Ok(())
    }

    fn enter(&mut self, span: Span) -> Result<(), RenderError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let fault = format!("blocks and templates run more than {DEPTH_MAX} deep; end the recursion");
            return self.locate(span, Err(fault));
        }
        Ok(())
    }

    fn locate<T>(&self, span: Span, result: Result<T, Fault>) -> Result<T, RenderError> {
        result.map_err(|fault| RenderError::new(self.name, span.line, &self.source[span.start..span.end], fault))
    }
}
