<!doctype html>
<title>MyApp</title>
<h1>MyApp</h1>
<p>PHP <?= PHP_MAJOR_VERSION ?>, MySQL: <?= extension_loaded('mysqli') ? 'ready' : 'missing' ?></p>
