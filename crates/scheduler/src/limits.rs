use crate::{FunctionKey, Refusal, keys::NumberMap};

/// Concurrency of functions and of the account: calls from acceptance to their end, against what is allowed.
#[derive(Debug)]
pub(crate) struct Limits {
    account: u32,
    functions: NumberMap<FunctionKey, Function>,
    /// Sum of all reservations.
    reserved: u64,
    /// Calls of functions without a reservation.
    unreserved_in_flight: u32,
    in_flight: u32,
}

#[derive(Debug, Default)]
struct Function {
    reserved: Option<u32>,
    in_flight: u32,
}

impl Limits {
    pub(crate) fn new(account: u32) -> Self {
        Self {
            account,
            functions: NumberMap::default(),
            reserved: 0,
            unreserved_in_flight: 0,
            in_flight: 0,
        }
    }

    /// Calls that wait or run.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// What functions without a reservation share.
    fn unreserved(&self) -> u32 {
        u32::try_from(u64::from(self.account).saturating_sub(self.reserved)).unwrap_or(u32::MAX)
    }

    /// Counts one more call of a function, if it is allowed. Each success is followed by one [`Self::release`].
    pub(crate) fn admit(&mut self, function: FunctionKey) -> Result<(), Refusal> {
        let unreserved = self.unreserved();
        let entry = self.functions.entry(function).or_default();
        match entry.reserved {
            Some(limit) if entry.in_flight >= limit => {
                return Err(Refusal::FunctionConcurrency { limit });
            }
            Some(_) => {}
            None if self.unreserved_in_flight >= unreserved => {
                return Err(Refusal::AccountConcurrency { limit: unreserved });
            }
            None => self.unreserved_in_flight += 1,
        }
        entry.in_flight += 1;
        self.in_flight += 1;
        Ok(())
    }

    /// Counts a call again that was admitted before, whatever the limits are by now. Followed by one [`Self::release`].
    pub(crate) fn readmit(&mut self, function: FunctionKey) {
        let entry = self.functions.entry(function).or_default();
        entry.in_flight += 1;
        self.in_flight += 1;
        if entry.reserved.is_none() {
            self.unreserved_in_flight += 1;
        }
    }

    /// A counted call ended.
    pub(crate) fn release(&mut self, function: FunctionKey) {
        let Some(entry) = self.functions.get_mut(&function) else {
            return;
        };
        entry.in_flight -= 1;
        self.in_flight -= 1;
        if entry.reserved.is_none() {
            self.unreserved_in_flight -= 1;
        }
    }

    /// Changes a reservation; calls in flight stay, and count where they now belong.
    pub(crate) fn reserve(&mut self, function: FunctionKey, reserved: Option<u32>) {
        let entry = self.functions.entry(function).or_default();
        match entry.reserved {
            Some(before) => self.reserved -= u64::from(before),
            None => self.unreserved_in_flight -= entry.in_flight,
        }
        match reserved {
            Some(now) => self.reserved += u64::from(now),
            None => self.unreserved_in_flight += entry.in_flight,
        }
        entry.reserved = reserved;
        self.forget(function);
    }

    /// Drops the entry of a function about which there is nothing to know.
    pub(crate) fn forget(&mut self, function: FunctionKey) {
        if let Some(entry) = self.functions.get(&function)
            && entry.reserved.is_none()
            && entry.in_flight == 0
        {
            self.functions.remove(&function);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: FunctionKey = FunctionKey(1);
    const B: FunctionKey = FunctionKey(2);

    #[test]
    fn a_reservation_is_a_limit_and_is_taken_from_the_rest() {
        let mut limits = Limits::new(3);
        limits.reserve(A, Some(2));
        assert_eq!(limits.admit(B), Ok(()));
        assert_eq!(
            limits.admit(B),
            Err(Refusal::AccountConcurrency { limit: 1 })
        );
        assert_eq!(limits.admit(A), Ok(()));
        assert_eq!(limits.admit(A), Ok(()));
        assert_eq!(
            limits.admit(A),
            Err(Refusal::FunctionConcurrency { limit: 2 })
        );
        limits.release(A);
        assert_eq!(limits.admit(A), Ok(()));
        assert_eq!(limits.in_flight(), 3);
    }

    #[test]
    fn zero_refuses_all() {
        let mut limits = Limits::new(1000);
        limits.reserve(A, Some(0));
        assert_eq!(
            limits.admit(A),
            Err(Refusal::FunctionConcurrency { limit: 0 })
        );
    }

    #[test]
    fn calls_move_with_their_reservation() {
        let mut limits = Limits::new(2);
        assert_eq!(limits.admit(A), Ok(()));
        limits.reserve(A, Some(1));
        assert_eq!(limits.admit(B), Ok(()));
        assert!(limits.admit(B).is_err());
        limits.reserve(A, None);
        assert!(limits.admit(A).is_err());
        limits.release(A);
        assert_eq!(limits.admit(A), Ok(()));
    }

    #[test]
    fn reservations_over_the_account_leave_nothing() {
        let mut limits = Limits::new(10);
        limits.reserve(A, Some(20));
        assert_eq!(
            limits.admit(B),
            Err(Refusal::AccountConcurrency { limit: 0 })
        );
        assert_eq!(limits.admit(A), Ok(()));
    }
}
