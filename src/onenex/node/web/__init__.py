"""The status page's parts: login, pictures, metrics, pages."""
