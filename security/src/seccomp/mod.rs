//! Which system calls a process may still make: tables, and their filter. A call that is in no rule
//! kills the process, and so does one that is not of the native architecture.

pub mod child;
pub mod datapath;
pub mod leader;
pub mod parent;

use std::collections::{BTreeMap, BTreeSet};
use std::env::consts::ARCH;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::failure::ConfineError;
use crate::protocol_41;

/// One permission. A call is allowed if all conditions of one rule of its number hold.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The system call.
    pub name: &'static str,
    /// Its number on this architecture.
    pub number: i64,
    /// What its arguments must be.
    pub conditions: &'static [Condition],
    /// What it is for.
    pub reason: &'static str,
}

/// What one argument must be.
#[derive(Clone, Copy, Debug)]
pub struct Condition {
    /// Which, from 0.
    pub argument: u8,
    /// How much of it counts.
    pub width: Width,
    /// The test.
    pub test: Test,
}

/// How much of an argument counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// An int: the kernel ignores the upper half.
    Int,
    /// A pointer or a long.
    Long,
}

/// What an argument must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// This value.
    Is(u64),
    /// Any value without these bits.
    Lacks(u64),
    /// Any greater value.
    Above(u64),
}

/// An int argument that must have this value.
const fn int(argument: u8, value: u64) -> Condition {
    Condition { argument, width: Width::Int, test: Test::Is(value) }
}

/// The descriptor, first of the arguments, of the socket of protocol 41 that receives.
const WHOLE: Condition = int(0, protocol_41::WHOLE_FD.unsigned_abs() as u64);
/// The same, of the one that lets packets be fragmented.
const FRAGMENTING: Condition = int(0, protocol_41::FRAGMENTING_FD.unsigned_abs() as u64);
/// A descriptor that may be closed: another takes its number, and must not be taken for the channel
/// or a socket of protocol 41.
const NOT_FIXED: Condition = Condition {
    argument: 0,
    width: Width::Int,
    test: Test::Above(protocol_41::FRAGMENTING_FD.unsigned_abs() as u64),
};

/// A pointer argument that must be null.
const fn null(argument: u8) -> Condition {
    Condition { argument, width: Width::Long, test: Test::Is(0) }
}

/// A call for memory that nobody may execute (the third argument of mmap(2) and mprotect(2)).
const NO_EXEC: Condition =
    Condition { argument: 2, width: Width::Long, test: Test::Lacks(libc::PROT_EXEC as u64) };

/// `rule!(SYS_read, "why")`, `rule!(SYS_read, [int(0, 3)], "why")`.
macro_rules! rule {
    ($call:ident, $reason:literal) => {
        rule!($call, [], $reason)
    };
    ($call:ident, [$($condition:expr),*], $reason:literal) => {
        $crate::seccomp::Rule {
            name: stringify!($call).split_at("SYS_".len()).1,
            number: libc::$call,
            conditions: &[$($condition),*],
            reason: $reason,
        }
    };
}
use rule;

impl Condition {
    fn compile(self) -> Result<SeccompCondition, seccompiler::BackendError> {
        let width = match self.width {
            Width::Int => SeccompCmpArgLen::Dword,
            Width::Long => SeccompCmpArgLen::Qword,
        };
        let (operator, value) = match self.test {
            Test::Is(value) => (SeccompCmpOp::Eq, value),
            Test::Lacks(bits) => (SeccompCmpOp::MaskedEq(bits), 0),
            Test::Above(value) => (SeccompCmpOp::Gt, value),
        };
        SeccompCondition::new(self.argument, width, operator, value)
    }
}

/// How many system calls a table allows.
pub(crate) fn calls(rules: &[Rule]) -> usize {
    rules.iter().map(|rule| rule.number).collect::<BTreeSet<_>>().len()
}

/// Makes the filter of a table.
pub fn filter(rules: &[Rule]) -> Result<BpfProgram, ConfineError> {
    compile(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}

/// Makes a filter by which the calls of a table are as if the kernel had none of that number (ENOSYS).
/// It allows all others: it goes with a filter that does not.
pub(crate) fn absent(rules: &[Rule]) -> Result<BpfProgram, ConfineError> {
    let answer = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    compile(rules, SeccompAction::Allow, answer)
}

fn compile(
    rules: &[Rule],
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, ConfineError> {
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for rule in rules {
        let alternatives = calls.entry(rule.number).or_default();
        // To seccompiler, a call without alternatives is meant whatever its arguments are.
        if !rule.conditions.is_empty() {
            let conditions: Result<Vec<_>, _> =
                rule.conditions.iter().map(|condition| condition.compile()).collect();
            alternatives.push(SeccompRule::new(conditions?)?);
        }
    }
    Ok(SeccompFilter::new(calls, otherwise, listed, ARCH.try_into()?)?.try_into()?)
}

/// Puts a filter in force for this thread and those that it makes, for good.
pub(crate) fn apply(program: &BpfProgram) -> Result<(), ConfineError> {
    Ok(seccompiler::apply_filter(program)?)
}
