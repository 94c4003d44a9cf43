// Fault: a shared library that is no module; it does not export hrmr_module_v1.
int answer_to_everything(void) { return 42; }
