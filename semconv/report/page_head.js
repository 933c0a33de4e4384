// Before anything is painted: the page knows that scripts run, and which theme was chosen last.
document.documentElement.classList.add("js");
try {
  const theme = localStorage.getItem("semconv-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* a browser that keeps nothing for files */ }
