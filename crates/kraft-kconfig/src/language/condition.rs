//! Parses conditions: `A && (B || !C) && D != "x"`.

use std::sync::Arc;

use super::expr::{Compare, Condition, Expr, Operand, Tristate};
use super::lexer::Token;
use super::parser::Parser;
use super::statement::{Cursor, Outcome};

/// Maximum nesting of `(` and `!`.
const DEEPEST: usize = 60;

impl Parser<'_> {
    /// Parses an optional `if CONDITION`.
    pub(super) fn when(&mut self, cursor: &mut Cursor<'_>) -> Outcome<Condition> {
        if !cursor.take("if") {
            return Ok(None);
        }
        self.condition(cursor).map(Some)
    }

    pub(super) fn condition(&mut self, cursor: &mut Cursor<'_>) -> Outcome<Arc<Expr>> {
        Ok(Arc::new(self.expr(cursor, 0)?.condition()))
    }

    /// Parses a chain of `||`.
    pub(super) fn expr(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Outcome<Expr> {
        let mut parts = vec![Arc::new(self.all_of(cursor, depth)?)];
        while cursor.take_sign("||") {
            parts.push(Arc::new(self.all_of(cursor, depth)?));
        }
        Ok(single(parts).unwrap_or_else(Expr::Or))
    }

    fn all_of(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Outcome<Expr> {
        let mut parts = vec![Arc::new(self.term(cursor, depth)?)];
        while cursor.take_sign("&&") {
            parts.push(Arc::new(self.term(cursor, depth)?));
        }
        Ok(single(parts).unwrap_or_else(Expr::And))
    }

    fn term(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Outcome<Expr> {
        if depth > DEEPEST {
            return Err(Box::new(
                cursor.problem("a condition is nested too deeply", "too deep"),
            ));
        }
        if cursor.take_sign("!") {
            return Ok(Expr::Not(Arc::new(self.term(cursor, depth + 1)?)));
        }
        if cursor.take_sign("(") {
            let inner = self.expr(cursor, depth + 1)?;
            if !cursor.take_sign(")") {
                return Err(Box::new(
                    cursor.problem("a parenthesis is not closed", "expected `)`"),
                ));
            }
            return Ok(inner);
        }
        let left = self.operand(cursor)?;
        let compares = [
            Compare::Equal,
            Compare::Unequal,
            Compare::Less,
            Compare::LessEqual,
            Compare::Greater,
            Compare::GreaterEqual,
        ];
        for how in compares {
            if cursor.take_sign(how.sign()) {
                return Ok(Expr::Compare(how, left, self.operand(cursor)?));
            }
        }
        Ok(Expr::Is(left))
    }

    pub(super) fn operand(&mut self, cursor: &mut Cursor<'_>) -> Outcome<Operand> {
        let (text, quoted) = match cursor.peek() {
            Some(Token::Word(text)) => (text.clone(), false),
            Some(Token::Quoted(text)) => (text.clone(), true),
            Some(Token::Sign(_)) | None => {
                return Err(Box::new(
                    cursor.problem("a symbol or value is missing", "expected in this place"),
                ));
            }
        };
        cursor.advance();
        self.operands += 1;
        Ok(match text.as_str() {
            "y" => Operand::Tri(Tristate::Yes),
            "m" => Operand::Tri(Tristate::Module),
            "n" => Operand::Tri(Tristate::No),
            _ if quoted => Operand::Text(text),
            _ => Operand::Symbol(self.symbol(&text)),
        })
    }
}

fn single(mut parts: Vec<Arc<Expr>>) -> Result<Expr, Vec<Arc<Expr>>> {
    match parts.len() {
        1 => parts.pop().map(Arc::unwrap_or_clone).ok_or(parts),
        _ => Err(parts),
    }
}
