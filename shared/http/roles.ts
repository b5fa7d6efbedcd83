/** The role of whoever runs commands on the machine itself: in no table, because whoever can read the control file can read the master key too. */
export const OPERATOR_ROLE = 'operator';
